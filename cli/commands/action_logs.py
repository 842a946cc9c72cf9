"""What happened: the log of actions, as it stands or as it grows."""

import json
from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Any

import typer

from cli.command_group import CommandGroup
from cli.screen import Column
from cli.session import ApiUrl, AsJson, Session, opened
from cli.text import NOTHING, duration, shown, title_case

PAGE = 200
FARTHEST_ROW = 5_000
"""How far back a follower looks for the actions that an event names, in rows."""
REMEMBERED_ROWS = 2 * FARTHEST_ROW


def logs(
    *,
    instance: Annotated[
        str | None, typer.Option("--instance", "-i", metavar="ID", help="Only the actions on this instance.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens; Ctrl-C ends it.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many of the latest to begin with.")] = 100,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """Show the latest actions, the oldest of them first."""
    from cli import lists  # noqa: PLC0415  (see cli.session)

    with opened(as_json=as_json, api_url=api_url) as session:
        instance_id = lists.instance_id(session.api, instance) if instance is not None else None
        if follow:
            _follow(session, instance_id, limit)
            return
        rows = session.api.get_list("/action_logs", instance_id=instance_id, limit=limit)
        if as_json:
            session.screen.json(rows)
            return
        session.screen.table(_COLUMNS, rows[::-1], empty="Nothing happened yet.")
        session.screen.next_commands(f"quarterdeck logs --follow{f' --instance {instance_id}' if instance_id else ''}")


def _follow(session: Session, instance_id: str | None, limit: int) -> None:
    """Rows as they come, once when they begin and once when they end. Without end: Ctrl-C is how it ends."""
    from cli.event_feed import HELLO, RESYNC, follow  # noqa: PLC0415

    params = {"topics": "actions"} | ({"instance_id": instance_id} if instance_id else {})
    told = _Told(session)
    for event in follow(session.api, "/events/stream", params):
        if event.event in {HELLO, RESYNC}:
            # Read after the stream is open: what happens in between comes twice, and is told once.
            told.tell(session.api.get_list("/action_logs", instance_id=instance_id, limit=limit))
        elif event.event == "action_log.created":
            told.tell(_rows(session, instance_id, set(json.loads(event.data).get("ids", []))))


def _rows(session: Session, instance_id: str | None, ids: set[str]) -> list[dict[str, Any]]:
    """The actions with these ids, newest first."""
    from cli.lists import rows_of  # noqa: PLC0415

    found: dict[str, dict[str, Any]] = {}
    for offset in range(0, FARTHEST_ROW, PAGE):
        answer = session.api.get("/action_logs/search", instance_id=instance_id, offset=offset, limit=PAGE)
        page = rows_of(session.api, answer)
        found |= {row["id"]: row for row in page if row["id"] in ids}
        if len(found) == len(ids) or len(page) < PAGE:
            break
    return list(found.values())


class _Told:
    """Which rows were written, and with which status: of the latest, so that a follower of months stays small."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._statuses: dict[str, str] = {}

    def tell(self, newest_first: Iterable[dict[str, Any]]) -> None:
        for row in reversed(list(newest_first)):
            if self._statuses.pop(row["id"], None) != row["status"]:
                self._write(row)
            self._statuses[row["id"]] = row["status"]
        for row_id in list(islice(self._statuses, max(len(self._statuses) - REMEMBERED_ROWS, 0))):
            del self._statuses[row_id]

    def _write(self, row: dict[str, Any]) -> None:
        if self._session.screen.as_json:
            self._session.screen.json_line(row)
        else:
            self._session.screen.line("  ".join(column.cell(row) for column in _COLUMNS))


def _outcome(row: Any) -> str:
    from cli.reasons import reason  # noqa: PLC0415  (see cli.session)

    if row.get("error_message") or row.get("error_code"):
        return reason(row.get("error_code"), row.get("error_message"))
    before, after = row.get("instance_status_before"), row.get("instance_status_after")
    return f"{shown(before)} -> {shown(after)}" if after and after != before else NOTHING


def _took(row: Any) -> str:
    took_ms = row.get("duration_ms")
    if not isinstance(took_ms, int | float):
        return NOTHING
    return f"{took_ms} ms" if took_ms < 1000 else duration(took_ms / 1000)


_COLUMNS = [
    Column("TIME", lambda row: shown(row.get("created_at"))),
    Column("INSTANCE", lambda row: shown(row.get("instance_id")), is_id=True),
    Column("ACTION", lambda row: title_case(str(row.get("action_type")))),
    Column("STATUS", lambda row: shown(row.get("status")), is_status=True),
    Column("TOOK", _took, right=True),
    Column("OUTCOME", _outcome),
]


COMMANDS = CommandGroup((logs,), place=50)
