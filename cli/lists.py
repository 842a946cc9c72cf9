"""Whole lists, read page by page, and ids given by their beginning."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from cli.api_client import Api, unexpected
from cli.failures import CommandFailed, ExitCode, wrong_usage

PAGE = 500
"""Rows per request: the most that a search gives (contract/fleet.md 11)."""
AMBIGUOUS_SHOWN = 10
ID_LENGTH = 36

Row = dict[str, Any]

_BEGINNING_OF_AN_ID = re.compile(r"[0-9a-f-]{1,36}")


def instances(api: Api, *, archived: bool) -> Iterator[Row]:
    """Newest first. A row that moves to a later page while pages are read comes once."""
    seen: set[str] = set()
    offset = 0
    while True:
        page = rows_of(api, api.get("/instances/search", archived=str(archived).lower(), offset=offset, limit=PAGE))
        for row in page:
            if row["id"] not in seen:
                seen.add(row["id"])
                yield row
        if len(page) < PAGE:
            return
        offset += PAGE


def operations(api: Api, *, page_size: int = PAGE, **filters: str | None) -> Iterator[Row]:
    """Newest first."""
    cursor: str | None = None
    while True:
        page = api.get("/operations", limit=page_size, cursor=cursor, **filters)
        yield from rows_of(api, page)
        cursor = page.get("next_cursor")
        if not cursor:
            return


def rows_of(api: Api, page: dict[str, Any]) -> list[Row]:
    """The rows of one page of a search. Raises CommandFailed for a document that is none."""
    rows = page.get("rows")
    if not isinstance(rows, list):
        raise unexpected(api.connection.url)
    return rows


def first(rows: Iterator[Row], count: int) -> list[Row]:
    return list(islice(rows, count))


def instance_id(api: Api, given: str) -> str:
    """The id that begins with `given`: among the instances that are not archived, else among the archived ones.

    Raises CommandFailed: exit 2 when several begin so, 3 when none does.
    """

    def candidates() -> Iterator[Iterable[Row]]:
        yield instances(api, archived=False)
        yield instances(api, archived=True)

    return _resolved("instance", given, candidates, lambda row: f"{row.get('status')} {row.get('model_name') or ''}")


def operation_id(api: Api, given: str) -> str:
    """The id that begins with `given`. Raises CommandFailed: exit 2 when several begin so, 3 when none does."""

    def candidates() -> Iterator[Iterable[Row]]:
        yield operations(api)

    return _resolved("operation", given, candidates, lambda row: f"{row.get('status')} {row.get('kind')}")


def _resolved(
    noun: str, given: str, candidates: Callable[[], Iterator[Iterable[Row]]], describe: Callable[[Row], str]
) -> str:
    beginning = given.strip().lower()
    if not _BEGINNING_OF_AN_ID.fullmatch(beginning):
        raise wrong_usage(f"{given!r} is not the id of an {noun}, nor the beginning of one", code="BAD_ID")
    if len(beginning) == ID_LENGTH:
        return beginning
    for rows in candidates():
        matches: dict[str, Row] = {row["id"]: row for row in rows if row["id"].startswith(beginning)}
        if len(matches) == 1:
            return next(iter(matches))
        if matches:
            shown = [f"{identifier}  {describe(row)}" for identifier, row in islice(matches.items(), AMBIGUOUS_SHOWN)]
            more = [f"and {len(matches) - AMBIGUOUS_SHOWN} more"] if len(matches) > AMBIGUOUS_SHOWN else []
            raise wrong_usage(
                f"{len(matches)} {noun}s begin with {beginning}: give more of the id",
                code="AMBIGUOUS_ID",
                hints=shown + more,
            )
    raise CommandFailed(
        f"no {noun} begins with {beginning}",
        code="NOT_FOUND",
        exit_code=ExitCode.NOT_FOUND,
        hints=[f"quarterdeck {noun}s"],
    )
