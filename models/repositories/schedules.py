"""Asking that something be done again and again for a resource: rows, which one workflow makes Temporal's schedules of."""

from typing import Any
from uuid import UUID

from sqlalchemy import and_, or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.ids import new_id
from models.contracts.outbox import DeliveryKind
from models.contracts.schedules import RESOURCE_KIND_OF_SCHEDULES, ScheduleKind
from models.contracts.workflow_ids import SCHEDULES
from models.domain.schedules import Overlap, ScheduleState, Timing, checked
from models.repositories.transaction_time import began_at
from models.tables.operations import OutboxRow
from models.tables.schedules import Schedule

WORKFLOW = "Schedules"
_TOLD = "schedules_told"

_SAID = ("operation_kind", "cron", "interval_s", "time_zone", "overlap", "is_paused")
"""What a revision is of."""


async def put(
    session: AsyncSession,
    kind: ScheduleKind,
    resource_id: UUID,
    organization_id: UUID,
    timing: Timing,
    *,
    overlap: Overlap = Overlap.SKIP,
    is_paused: bool = False,
) -> UUID:
    """The id of the resource's schedule of this kind, which is made or changed to be so. One that is so already is left alone.

    It holds once the transaction is committed. A resource that is over has none: its schedules go by themselves. Raises
    InvalidRequest for a timing that cannot be meant.
    """
    now, timing = await began_at(session), checked(timing)
    new = {
        "id": new_id(), "organization_id": organization_id, "kind": kind.kind, "resource_kind": kind.owner.resource_kind,
        "resource_id": resource_id, "operation_kind": kind.operation, "cron": timing.cron, "interval_s": timing.interval_s,
        "time_zone": timing.time_zone, "overlap": overlap, "is_paused": is_paused, "revision": 1, "applied_revision": 0,
        "state": ScheduleState.PENDING, "created_at": now, "changed_at": now,
    }  # fmt: skip
    inserting: Any = insert(Schedule).values(new)
    changed = {name: inserting.excluded[name] for name in _SAID}
    statement = inserting.on_conflict_do_update(
        constraint="schedules_of_resource",
        set_={
            **changed, "revision": col(Schedule.revision) + 1, "state": ScheduleState.PENDING, "error_code": None,
            "changed_at": now,
        },
        where=or_(
            col(Schedule.state) == ScheduleState.REMOVING,
            *(getattr(Schedule, name).is_distinct_from(value) for name, value in changed.items()),
        ),
    ).returning(col(Schedule.id))  # fmt: skip
    written: UUID | None = (await session.execute(statement)).scalar_one_or_none()
    if written is not None:
        await _tell(session, written, organization_id)
        return written
    found = select(Schedule.id).where(Schedule.resource_id == resource_id, Schedule.kind == kind.kind)
    return (await session.exec(found)).one()


async def pause(session: AsyncSession, kind: ScheduleKind, resource_id: UUID, *, is_paused: bool = True) -> bool:
    """False where there is no such schedule, or it is so already. A run that has begun goes on."""
    state = col(Schedule.state)
    wanted = and_(state != ScheduleState.REMOVING, col(Schedule.is_paused) != is_paused)
    return await _change(session, kind, resource_id, wanted, is_paused=is_paused, state=ScheduleState.PENDING)


async def remove(session: AsyncSession, kind: ScheduleKind, resource_id: UUID) -> bool:
    """False where there is no such schedule. From the commit on nothing is done; the row goes with Temporal's schedule."""
    wanted = col(Schedule.state) != ScheduleState.REMOVING
    return await _change(session, kind, resource_id, wanted, state=ScheduleState.REMOVING)


async def _change(session: AsyncSession, kind: ScheduleKind, resource_id: UUID, wanted: Any, **values: object) -> bool:
    statement: Any = (
        update(Schedule)
        .where(col(Schedule.resource_id) == resource_id, col(Schedule.kind) == kind.kind, wanted)
        .values(
            **values, revision=col(Schedule.revision) + 1, error_code=None, changed_at=await began_at(session)
        )
        .returning(col(Schedule.id), col(Schedule.organization_id))
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    changed = (await session.execute(statement)).one_or_none()
    if changed is None:
        return False
    await _tell(session, *changed)
    return True


async def _tell(session: AsyncSession, schedule_id: UUID, organization_id: UUID) -> None:
    """One message for all that a transaction changes: it says that there is something, the rows say what."""
    if session.info.get(_TOLD):
        return
    session.info[_TOLD] = True
    message = OutboxRow(
        organization_id=organization_id,
        kind=DeliveryKind.COMMAND,
        workflow=WORKFLOW,
        workflow_id=SCHEDULES,
        resource_kind=RESOURCE_KIND_OF_SCHEDULES,
        resource_id=schedule_id,
        payload={},
        next_attempt_at=await began_at(session),
    )
    session.add(message)
