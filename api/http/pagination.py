"""Pages: `offset` and `limit` on searches (contract/fleet.md 11), a cursor on logs that grow (DESIGN 3)."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Generic, Self, TypeVar
from uuid import UUID

from fastapi import Depends, Query, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.requests import HTTPConnection
from fastapi.routing import APIRoute, APIWebSocketRoute

from api.schemas.base import ResponseModel
from models.base.errors import InvalidRequest

Row = TypeVar("Row")
Found = TypeVar("Found")

DEFAULT_LIMIT = 200
LARGEST_LIMIT = 500
LARGEST_OFFSET = 10_000_000
CURSOR_LIMIT = 200


class SearchResponse(ResponseModel, Generic[Row]):
    """One window of a list. `total_count` is without filters, `filtered_count` with them."""

    offset: int
    limit: int
    total_count: int
    filtered_count: int
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Window:
    offset: int
    limit: int


def clamped(limit: int) -> int:
    """A limit between 1 and 500, whatever was asked for."""
    return min(max(limit, 1), LARGEST_LIMIT)


async def window(
    offset: Annotated[int, Query(ge=0, le=LARGEST_OFFSET)] = 0,
    limit: Annotated[int, Query(description="1 to 500; a number outside is moved inside.")] = DEFAULT_LIMIT,
) -> Window:
    return Window(offset, clamped(limit))


WindowParams = Annotated[Window, Depends(window)]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list that is ordered by time, then id."""

    created_at: datetime
    id: UUID


class CursorPage(ResponseModel, Generic[Row]):
    """One page, newest first. `next_cursor` is null on the last one."""

    rows: list[Row]
    next_cursor: str | None

    @classmethod
    def of(
        cls, found: Sequence[Found], limit: int, shown: Callable[[Found], Row], position: Callable[[Found], Position]
    ) -> Self:
        """The page of what was found, which is one more than its `limit` where another page follows."""
        next_cursor = encode_cursor(position(found[limit - 1])) if len(found) > limit else None
        return cls(rows=[shown(each) for each in found[:limit]], next_cursor=next_cursor)


def encode_cursor(position: Position) -> str:
    return urlsafe_b64encode(f"{position.created_at.isoformat()}/{position.id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> Position:
    """Raises InvalidRequest for anything that `encode_cursor` did not make."""
    try:
        text = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
        moment, _, identifier = text.partition("/")
        position = Position(datetime.fromisoformat(moment), UUID(identifier))
        if position.created_at.tzinfo is None:
            raise ValueError("a cursor without a time zone")
    except ValueError:
        raise InvalidRequest("this cursor is none of ours: leave it out to begin again", code="BAD_CURSOR") from None
    return position


async def cursor_position(
    cursor: Annotated[
        str | None, Query(max_length=CURSOR_LIMIT, description="`next_cursor` of the page before.")
    ] = None,
) -> Position | None:
    return None if cursor is None else decode_cursor(cursor)


CursorParam = Annotated[Position | None, Depends(cursor_position)]


_known_filters: dict[str, set[str]] = {}
"""By operation id, as they are found."""


async def only_known_filters(connection: HTTPConnection) -> None:
    """Raises InvalidRequest for a query parameter that the route or socket does not have: ignoring it would show the wrong rows
    (contract decision 20).
    """
    route = connection.scope.get("route")
    if not connection.query_params or not isinstance(route, APIRoute | APIWebSocketRoute):
        return
    unknown = sorted(set(connection.query_params) - _filters_of(route))
    if unknown:
        allowed = ", ".join(sorted(_filters_of(route))) or "none"
        raise InvalidRequest(
            f"unknown query parameter {unknown[0][:100]!r}; this path has: {allowed}",
            code="UNKNOWN_FILTER",
            details={"unknown": [name[:100] for name in unknown[:20]]},
        )


def _filters_of(route: APIRoute | APIWebSocketRoute) -> set[str]:
    name = route.unique_id if isinstance(route, APIRoute) else ""
    known = _known_filters.get(name)
    if known is None:
        declared = get_flat_params(route.dependant)
        known = {field.alias for field in declared if isinstance(field.field_info, params.Query)}
        if name:  # a socket has no name of its own, and is not opened often
            _known_filters[name] = known
    return known
