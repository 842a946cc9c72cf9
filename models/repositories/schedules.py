"""Asking that something be done again and again for a resource: rows, which one workflow makes Temporal's schedules of."""

from typing import Any
from uuid import UUID

from sqlalchemy import and_, or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import NotFound
from models.base.ids import new_id
from models.contracts.outbox import DeliveryKind
from models.contracts.schedules import RESOURCE_KIND_OF_SCHEDULES, ScheduleKind
from models.contracts.workflow_ids import SCHEDULES
from models.domain.identity.principal import Principal
from models.domain.schedules import Overlap, ScheduleState, Timing, checked
from models.repositories import operations, outbox
from models.repositories.asking import Asked, ask, command_to
from models.repositories.locking import locked
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


async def run_now(
    session: AsyncSession, principal: Principal, kind: ScheduleKind, resource_id: UUID, *, status: str
) -> Asked:
    """What the resource's schedule of this kind orders each time, ordered once more, at the end of the transaction. Its times
    stay as they are, and a paused one stays paused.

    While an operation of that kind is open it is the answer, as it is for a run: its owner is told once more. `status` is the
    resource's, and whether it can be asked for anything at all is for the caller to say. Raises NotFound where there is no such
    schedule, ValueError for a kind that starts a workflow.
    """
    if kind.operation is None:
        raise ValueError(f"{kind.kind}: only what orders an operation can be run at once")
    wanted = select(Schedule).where(
        Schedule.resource_id == resource_id, Schedule.kind == kind.kind, Schedule.state != ScheduleState.REMOVING
    )
    row = (await session.exec(locked(wanted))).one_or_none()  # or a run of this moment would order it too
    if row is None:
        raise NotFound(f"the {kind.owner.noun} has no such schedule", code="SCHEDULE_NOT_FOUND")
    pending = await operations.find_open(session, resource_id, kind.operation)
    if pending is not None:
        now = await began_at(session)
        message = command_to(kind.owner, resource_id, row.organization_id, pending.id, now)
        session.add(message)
        return Asked(pending, outbox.message_of(message))
    return await ask(
        session,
        principal,
        kind.owner,
        resource_id,
        kind.operation,
        action_type="SCHEDULE_RUN",
        before=status,
        after=status,
    )


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
