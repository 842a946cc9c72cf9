"""The instance row as its owner reads and writes it: one locked row, one transaction, applied once (DESIGN rule 3)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.contracts.fleet.instances import Applied, Frozen, InstanceKey, InstanceSnapshot, LivenessView, Projection
from models.contracts.fleet.owner_kinds import INSTANCE
from models.contracts.operations import OpenOperation
from models.contracts.task_queues import compute_queue
from models.domain.fleet.instances.course import REMOVING, Course, Hearing, after, hearing, is_move, shown_percent
from models.domain.fleet.instances.deletion import NOTHING_CREATED
from models.domain.fleet.instances.progress import Step
from models.domain.fleet.instances.refusals import instance_not_found
from models.domain.fleet.instances.state import FINAL, DesiredStatus, InstanceStatus
from models.domain.operations import OPEN
from models.ports.compute import MachineSpec
from models.repositories import action_notes, alarms, events, operations
from models.repositories.events import NewEvent
from models.repositories.fleet import billing, boot_tokens, zone_offers
from models.repositories.inserting import insert_and_announce
from models.repositories.locking import locked
from models.repositories.transaction_time import began_at
from models.repositories.waiting import held_on, show_hold, show_wait, told_wait
from models.tables.activity import ActionLog
from models.tables.fleet.instances import Instance, InstanceLiveness, InstanceStateChange
from models.tables.operations import Operation

_COURSE = tuple(field.name for field in fields(Course))
_PLAIN = select(Instance).where(Instance.id == bindparam("id"))
_LOCKED = locked(_PLAIN, refers=True)


@dataclass(frozen=True)
class OwnerLimits:
    """The limits of settings that an owner works within, and the key that boot tokens are derived from."""

    startup_timeout_s: float
    drain_timeout_s: float
    stale_s: float
    unavailable_wait_s: float
    installation_key: bytes


async def snapshot(session: AsyncSession, key: InstanceKey, limits: OwnerLimits) -> InstanceSnapshot:
    """The row, its agent and its open operations now. Raises NotFound."""
    return await _snapshot(session, await _row(session, key.instance_id), limits)


async def freeze_spec(session: AsyncSession, key: InstanceKey, spec: MachineSpec, limits: OwnerLimits) -> Frozen:
    """Fix what is created, before the first try; a spec that is there already stays. Not applied: termination came first.

    The row lock decides between this and a DELETE: once `create_attempted_at` is set, a DELETE must go through the owner.
    """
    row = await _row(session, key.instance_id, lock=True)
    if row.desired_status is DesiredStatus.TERMINATED or row.status is not InstanceStatus.PROVISIONING:
        return Frozen(applied=False, snapshot=await _snapshot(session, row, limits))
    is_fresh = row.machine_spec is None
    if is_fresh:
        row.machine_spec = spec.model_dump(mode="json")
        row.create_attempted_at = now = await began_at(session)
        row.version += 1
        boot_tokens.issue(session, row, limits.installation_key, now=now)
        session.add(row)
        await session.flush()
    return Frozen(applied=True, fresh=is_fresh, snapshot=await _snapshot(session, row, limits))


async def apply(session: AsyncSession, change: Projection, limits: OwnerLimits) -> Applied:
    """Write the change and everything that hangs on it: history, operations, ledger, action log, events.

    Raises IllegalTransition for a move that the state table does not have.
    """
    row = await _row(session, change.key.instance_id, lock=True)
    heard = hearing(change, last_id=row.last_projection_id, version=row.version, status=row.status)
    if heard is not Hearing.WRITTEN:
        return Applied(applied=heard is Hearing.REPEATED, snapshot=await _snapshot(session, row, limits))
    now, before = await began_at(session), _course(row)
    row.version += 1
    row.last_projection_id = change.projection_id
    pending = await operations.open_on(session, row.id)
    _follow(row, after(before, change, now))
    history = [_line(row, before.status, change)] if is_move(before, change) else []
    show_hold(row, change.held)
    if not change.keeps_waiting:
        show_wait(row, change.waiting, now)
    await _machine(session, row, change, limits, now)
    result: dict[str, object] = {"instance_id": str(row.id), "status": row.status.value}
    moved = operations.apply_changes(pending, change.operations, now, result=result)
    still_open = [operation for operation in pending if operation.status in OPEN]
    _show_progress(row, still_open)
    await session.flush()
    logs = action_notes.logs_of(
        INSTANCE,
        row.id,
        change.actions,
        organization_id=row.organization_id,
        before=before.status.value,
        after=row.status.value,
        now=now,
        details={"generation": row.generation},
    )
    news = _news(row, [*moved, *still_open], logs)
    await insert_and_announce(session, row.organization_id, [*history, *logs], news)
    about = alarms.About(INSTANCE, row.id, row.organization_id)
    is_over = before.status is not row.status and row.status in (InstanceStatus.READY, *FINAL)
    await alarms.follow(session, about, change.actions, is_over=is_over)
    return Applied(applied=True, snapshot=await _snapshot(session, row, limits, still_open))


def _course(row: Instance) -> Course:
    return Course(**{name: getattr(row, name) for name in _COURSE})


def _follow(row: Instance, course: Course) -> None:
    """What changed alone is written."""
    for name in _COURSE:
        value = getattr(course, name)
        if value != getattr(row, name):
            setattr(row, name, value)


def _line(row: Instance, before: InstanceStatus, change: Projection) -> InstanceStateChange:
    return InstanceStateChange(
        organization_id=row.organization_id,
        instance_id=row.id,
        version=row.version,
        from_status=before,
        to_status=row.status,
        reason=change.reason,
    )


async def _machine(
    session: AsyncSession, row: Instance, change: Projection, limits: OwnerLimits, now: datetime
) -> None:
    if change.no_capacity_in is not None:
        await zone_offers.go_on(session, row, change.no_capacity_in)
    if change.machine is not None:
        await zone_offers.settle(session, row, change.machine.zone)
        row.provider_instance_id = change.machine.provider_instance_id
        row.endpoint_host = change.machine.host or row.endpoint_host
        row.endpoint_port = change.machine.port or row.endpoint_port
        await billing.open_compute(session, row, change.machine)
    for machine in change.found:
        await billing.open_compute(session, row, machine)
    for volume in change.volumes:
        await billing.track_volume(session, row, volume)
    if change.status is InstanceStatus.BOOTING and not change.begin_boot:
        await boot_tokens.renew(session, row, now=now)
    if change.mark_silent:
        await session.execute(
            update(InstanceLiveness).where(col(InstanceLiveness.instance_id) == row.id).values(is_stale=True)
        )
    if change.begin_boot:
        await boot_tokens.replace(session, row, limits.installation_key, now=now)
        await _reset_liveness(session, row)
    for ended in change.ended:
        await billing.close(session, row, ended, now=now)
    if row.status is InstanceStatus.TERMINATED and change.status is InstanceStatus.TERMINATED:
        await billing.close_all(session, row, now=now)
        await boot_tokens.revoke_all(session, row.id, now=now)
        row.endpoint_host = row.endpoint_port = None


async def _reset_liveness(session: AsyncSession, row: Instance) -> None:
    """The word of the agent of an earlier generation counts for nothing."""
    await session.execute(
        update(InstanceLiveness)
        .where(col(InstanceLiveness.instance_id) == row.id)
        .values(
            generation=row.generation,
            boot_id=None,
            worker_status=None,
            phase=None,
            slots_busy=None,
            queue_depth=None,
            registered_at=None,
            is_stale=False,
        )
    )


def _show_progress(row: Instance, still_open: Sequence[Operation]) -> None:
    course = _course(row)
    for operation in still_open:
        operation.progress_percent = shown_percent(operation.kind, operation.progress_percent, course)
        operation.waiting_on, operation.waiting_params = row.waiting_on, row.waiting_params
        operation.waiting_since = row.waiting_since
        operation.waiting_until = row.waiting_until
        operation.held_code, operation.held_since = row.held_code, row.held_since


def _news(row: Instance, shown: Sequence[Operation], logs: Sequence[ActionLog]) -> list[NewEvent]:
    """For those who follow an operation, then for those who follow the organization."""
    status = {"status": row.status, "steps": row.completed_steps, "waiting_on": told_wait(row), "held": row.held_code}
    followed = dict.fromkeys(events.operation_stream(operation.id) for operation in shown)
    organization, instance = events.organization_stream(row.organization_id), str(row.id)
    news = [NewEvent(stream, "operation.updated", status) for stream in followed]
    news.append(NewEvent(organization, "instance.updated", {"ids": [instance]}))
    if logs:
        logged = {"ids": [str(log.id) for log in logs], "instance_ids": [instance]}
        news.append(NewEvent(organization, "action_log.created", logged))
    return news


async def _row(session: AsyncSession, instance_id: UUID, *, lock: bool = False) -> Instance:
    statement = _LOCKED if lock else _PLAIN
    row = (await session.exec(statement, params={"id": instance_id})).one_or_none()
    if row is None:
        raise instance_not_found()
    return row


async def _snapshot(
    session: AsyncSession, row: Instance, limits: OwnerLimits, pending: Sequence[Operation] | None = None
) -> InstanceSnapshot:
    """`pending` are the open operations where they have been read already."""
    liveness = await session.get(InstanceLiveness, row.id, populate_existing=True)
    if pending is None:
        pending = await operations.open_on(session, row.id)
    is_removing = row.status in REMOVING
    zones = zone_offers.zones_of(row)
    known_volumes, doomed_volumes = await billing.known_volumes(session, row) if is_removing else ([], [])
    return InstanceSnapshot(
        read_at=await began_at(session),
        status=row.status,
        desired_status=row.desired_status,
        version=row.version,
        generation=row.generation,
        compute_queue=compute_queue(row.provider_code, row.zone_code or ""),
        zone_code=row.zone_code or "",
        zones_tried=zones.tried,
        zones_left=zones.left,
        machine_spec=MachineSpec.model_validate(row.machine_spec) if row.machine_spec else None,
        create_attempted_at=row.create_attempted_at,
        is_nothing_created=row.deletion_reason == NOTHING_CREATED,
        provider_instance_id=row.provider_instance_id,
        has_address=row.endpoint_host is not None and row.endpoint_port is not None,
        completed_steps=[Step(step) for step in row.completed_steps],
        boot_started_at=row.boot_started_at,
        ready_at=row.ready_at,
        error_code=row.error_code,
        held=held_on(row),
        heal_attempts=row.heal_attempts,
        on_unavailable=row.on_unavailable,
        startup_timeout_s=limits.startup_timeout_s,
        drain_timeout_s=limits.drain_timeout_s,
        stale_s=limits.stale_s,
        unavailable_wait_s=limits.unavailable_wait_s,
        liveness=_view(liveness, row.generation),
        operations=[OpenOperation(id=one.id, kind=one.kind, status=one.status) for one in pending],
        billed_machines=await billing.open_machines(session, row) if is_removing else [],
        known_volumes=known_volumes,
        doomed_volumes=doomed_volumes,
    )


def _view(liveness: InstanceLiveness | None, generation: int) -> LivenessView | None:
    if liveness is None or liveness.generation != generation or liveness.registered_at is None:
        return None
    return LivenessView(
        generation=liveness.generation,
        boot_id=liveness.boot_id,
        worker_status=liveness.worker_status,
        phase=liveness.phase,
        slots_busy=liveness.slots_busy or 0,
        queue_depth=liveness.queue_depth or 0,
        registered_at=liveness.registered_at,
        last_heartbeat_at=liveness.last_heartbeat_at,
        is_stale=liveness.is_stale,
    )
