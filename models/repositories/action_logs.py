"""Reading the action logs of an organization (contract/fleet.md 2.12)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables.activity import ActionComponent, ActionStatus
from models.tables.catalog import ActionType

Row = dict[str, Any]


@dataclass(frozen=True)
class LogFilter:
    """None leaves a filter out."""

    instance_id: UUID | None = None
    component: ActionComponent | None = None
    status: ActionStatus | None = None
    action_type: str | None = None


@dataclass(frozen=True)
class LogSearch:
    matching: LogFilter = field(default_factory=LogFilter)
    sort_by: str = "created_at"
    descending: bool = True
    offset: int = 0
    limit: int = 200


@dataclass(frozen=True)
class LogPage:
    """`counts_by_status` are of the rows that match."""

    rows: list[Row]
    total_count: int
    filtered_count: int
    counts_by_status: Mapping[str, int]


SORTS = {
    "created_at": "a.created_at",
    "duration_ms": "a.duration_ms",
    "status": "a.status",
    "component": "a.component",
    "action_type": "a.action_type",
    "provider_name": "p.name",
    "instance_type": "t.name",
    "instance_id": "a.instance_id",
}
"""Sort key of the API -> SQL; any other key sorts by `created_at` (contract decision 20)."""

_COLUMNS = (
    "a.id, a.action_type, a.component, a.status, a.error_code, a.error_message, a.instance_id, a.operation_id, a.user_id, "
    "a.duration_ms, a.created_at, a.completed_at, a.details AS metadata, a.instance_status_before, a.instance_status_after, "
    "p.name AS provider_name, t.name AS instance_type"
)
_FROM = (
    "action_logs a LEFT JOIN instances i ON i.id = a.instance_id LEFT JOIN providers p ON p.id = i.provider_id "
    "LEFT JOIN instance_types t ON t.id = i.instance_type_id"
)


async def newest(session: AsyncSession, matching: LogFilter, *, limit: int) -> list[Row]:
    return await _rows(session, LogSearch(matching, limit=limit))


async def search(session: AsyncSession, wanted: LogSearch) -> LogPage:
    """One page; an unknown sort key sorts by time. Rows without a value come last, ties by id, newest first."""
    where, values = _conditions(wanted.matching)
    counts = ", ".join(f"count(*) FILTER (WHERE {where} AND a.status = '{status.value}')" for status in ActionStatus)
    statement = f"SELECT count(*), count(*) FILTER (WHERE {where}), {counts} FROM action_logs a"  # noqa: S608 (constants)
    total, filtered, *by_status = (await session.execute(text(statement), values)).one()
    rows = await _rows(session, wanted)
    return LogPage(rows, total, filtered, dict(zip((status.value for status in ActionStatus), by_status, strict=True)))


async def _rows(session: AsyncSession, wanted: LogSearch) -> list[Row]:
    where, values = _conditions(wanted.matching)
    order = f"{SORTS.get(wanted.sort_by, SORTS['created_at'])} {'DESC' if wanted.descending else 'ASC'} NULLS LAST, a.id DESC"
    statement = f"SELECT {_COLUMNS} FROM {_FROM} WHERE {where} ORDER BY {order} LIMIT :limit OFFSET :offset"  # noqa: S608 (constants)
    page = await session.execute(text(statement), values | {"limit": wanted.limit, "offset": wanted.offset})
    return [dict(row) for row in page.mappings()]


def _conditions(matching: LogFilter) -> tuple[str, dict[str, object]]:
    values: dict[str, object] = {name: value for name, value in vars(matching).items() if value is not None}
    return " AND ".join(["true", *(f"a.{name} = :{name}" for name in values)]), values


async def action_types(session: AsyncSession) -> list[ActionType]:
    """The active ones by category and code, those without a category last."""
    statement = (
        select(ActionType)
        .where(ActionType.is_active)
        .order_by(col(ActionType.category).asc().nulls_last(), col(ActionType.code))
    )
    return list((await session.exec(statement)).all())
