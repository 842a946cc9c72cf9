"""Reading the action logs of an organization (contract/fleet.md 2.12)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, true
from sqlalchemy import select as select_columns
from sqlalchemy.orm import Mapped
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables.activity import ActionComponent, ActionLog, ActionStatus
from models.tables.fleet.catalog import ActionType, InstanceType, Provider
from models.tables.fleet.instances import Instance

Row = dict[str, Any]


@dataclass(frozen=True)
class LogFilter:
    """None leaves a filter out."""

    instance_id: UUID | None = None
    component: ActionComponent | None = None
    status: ActionStatus | None = None
    action_type: str | None = None
    resource_id: UUID | None = None


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


SORTS: Mapping[str, Mapped[Any]] = {
    "created_at": col(ActionLog.created_at),
    "duration_ms": col(ActionLog.duration_ms),
    "status": col(ActionLog.status),
    "component": col(ActionLog.component),
    "action_type": col(ActionLog.action_type),
    "provider_name": col(Provider.name),
    "instance_type": col(InstanceType.name),
    "instance_id": col(ActionLog.instance_id),
}
"""By the sort key of the API; any other key sorts by `created_at` (contract decision 20)."""

_SHOWN = (
    *(
        getattr(ActionLog, name)
        for name in (
            "id", "action_type", "component", "status", "error_code", "error_message", "instance_id", "operation_id", "user_id",
            "duration_ms", "created_at", "completed_at", "instance_status_before", "instance_status_after",
        )
    ),
    col(ActionLog.details).label("metadata"),
    col(Provider.name).label("provider_name"),
    col(InstanceType.name).label("instance_type"),
)  # fmt: skip


async def newest(session: AsyncSession, matching: LogFilter, *, limit: int) -> list[Row]:
    return await _rows(session, LogSearch(matching, limit=limit))


async def search(session: AsyncSession, wanted: LogSearch) -> LogPage:
    """One page; an unknown sort key sorts by time. Rows without a value come last, ties by id, newest first."""
    matches = _matches(wanted.matching)
    of_status = (func.count().filter(matches, col(ActionLog.status) == status) for status in ActionStatus)
    statement = select_columns(func.count(), func.count().filter(matches), *of_status).select_from(ActionLog)
    total, filtered, *by_status = (await session.execute(statement)).one()
    rows = await _rows(session, wanted)
    return LogPage(rows, total, filtered, dict(zip((status.value for status in ActionStatus), by_status, strict=True)))


async def _rows(session: AsyncSession, wanted: LogSearch) -> list[Row]:
    order = SORTS.get(wanted.sort_by, SORTS["created_at"])
    statement = (
        select_columns(*_SHOWN)
        .outerjoin(Instance, col(Instance.id) == ActionLog.instance_id)
        .outerjoin(Provider, col(Provider.id) == Instance.provider_id)
        .outerjoin(InstanceType, col(InstanceType.id) == Instance.instance_type_id)
        .where(_matches(wanted.matching))
        .order_by((order.desc() if wanted.descending else order.asc()).nulls_last(), col(ActionLog.id).desc())
        .limit(wanted.limit)
        .offset(wanted.offset)
    )
    return [dict(row) for row in (await session.execute(statement)).mappings()]


def _matches(matching: LogFilter) -> ColumnElement[bool]:
    wanted = ((name, value) for name, value in vars(matching).items() if value is not None)
    return and_(true(), *(getattr(ActionLog, name) == value for name, value in wanted))


async def action_types(session: AsyncSession) -> list[ActionType]:
    """The active ones by category and code, those without a category last."""
    statement = (
        select(ActionType)
        .where(ActionType.is_active)
        .order_by(col(ActionType.category).asc().nulls_last(), col(ActionType.code))
    )
    return list((await session.exec(statement)).all())
