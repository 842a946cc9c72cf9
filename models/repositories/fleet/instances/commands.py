"""Commands on an instance that exists: terminate, reinstall, archive, cancel. Intent first (DESIGN rule 4)."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.contracts.fleet.owner_kinds import INSTANCE
from models.contracts.outbox import DeliveryKind, OutboxMessage
from models.domain.fleet.instances.commands import (
    Commandable,
    Ending,
    GivingUp,
    check_archive,
    check_reinstall,
    ending,
    giving_up,
)
from models.domain.fleet.instances.deletion import NO_PROVIDER_RESOURCE
from models.domain.fleet.instances.refusals import instance_not_found
from models.domain.fleet.instances.state import DesiredStatus, InstanceStatus, advance
from models.domain.fleet.operations import OperationKind
from models.domain.fleet.provider_kinds import PROVIDER_KINDS
from models.domain.identity.principal import Principal
from models.domain.operations import OperationStatus
from models.repositories import events, operations, outbox
from models.repositories.asking import EAGER_GRACE, ask
from models.repositories.inserting import insert_and_announce
from models.repositories.locking import locked
from models.repositories.transaction_time import began_at
from models.tables.activity import ActionComponent, ActionLog, ActionStatus
from models.tables.fleet.instances import Instance, InstanceStateChange
from models.tables.operations import Operation


@dataclass(frozen=True)
class Commanded:
    """What a command wrote. Without a message nothing is left to do: `operation` is finished or was under way."""

    instance_id: UUID
    status: str
    operation: Operation | None = None
    message: OutboxMessage | None = None


async def terminate(session: AsyncSession, principal: Principal, instance_id: UUID) -> Commanded:
    """Ask for the end of an instance. Asking again gives the operation that is under way.

    Where no create was ever attempted there is nothing to remove, and the row is terminated at once; the row's lock decides
    between this and the owner's first attempt.
    """
    row = await _locked(session, instance_id)
    match ending(_facts(row)):
        case Ending.OVER:
            return Commanded(row.id, row.status.value)
        case Ending.AT_ONCE:
            return await _terminate_unborn(session, principal, row)
    pending = await operations.find_open(session, row.id, OperationKind.INSTANCE_TERMINATE)
    if pending is not None:
        return Commanded(row.id, "terminating", pending, await _tell_again(session, row, pending))
    row.desired_status = DesiredStatus.TERMINATED
    return await _command(session, principal, row, OperationKind.INSTANCE_TERMINATE, "REQUEST_TERMINATE")


async def reinstall(session: AsyncSession, principal: Principal, instance_id: UUID) -> Commanded:
    """Ask for a fresh install.

    Raises MalformedRequest (terminated, no machine yet, or its provider installs none anew), Conflict (terminating).
    """
    row = await _locked(session, instance_id)
    check_reinstall(_facts(row))
    pending = await operations.find_open(session, row.id, OperationKind.INSTANCE_REINSTALL)
    if pending is not None:
        return Commanded(row.id, row.status.value, pending, await _tell_again(session, row, pending))
    return await _command(session, principal, row, OperationKind.INSTANCE_REINSTALL, "REQUEST_REINSTALL")


async def archive(session: AsyncSession, principal: Principal, instance_id: UUID) -> Commanded:
    """Take a terminated instance out of the default lists; again is fine. Raises MalformedRequest for any other."""
    row = await _locked(session, instance_id)
    if row.status is InstanceStatus.ARCHIVED:
        return Commanded(row.id, row.status.value)
    check_archive(row.status, shown_as=str(row.visible_status))
    before, row.status = row.status, advance(row.status, InstanceStatus.ARCHIVED)
    row.is_archived = True
    row.version += 1
    await session.flush()
    log = _log(principal, row, None, "ARCHIVE_INSTANCE", before=before, now=await began_at(session))
    news = events.of_command(row.organization_id, INSTANCE.resource_kind, row.id, log.id)
    await insert_and_announce(session, row.organization_id, [_change(row, before, "archived"), log], news)
    return Commanded(row.id, row.status.value)


async def cancel(session: AsyncSession, principal: Principal, operation_id: UUID) -> Commanded:
    """Give an operation up. A provision that is given up is compensated: its machine goes. A termination cannot be.

    Raises NotFound; Conflict for an operation that is over, or that cannot be taken back.
    """
    found = await operations.get(session, operation_id)
    row = await _locked(session, found.resource_id)
    operation = await operations.get(session, operation_id, lock=True)
    way = giving_up(operation.kind, operation.status)
    operation.cancel_requested_at = now = await began_at(session)
    if way is GivingUp.WITHDRAWN:
        operation.status, operation.completed_at = OperationStatus.CANCELLED, now
        operations.wait_for_nothing(operation)
        if row.waiting_on == operations.FOR_ITS_OWNER:
            row.waiting_on = row.waiting_params = row.waiting_since = None
        row.version += 1  # an owner that decided to begin it finds that it has to look again
        session.add(operation)
        await session.flush()
        await insert_and_announce(session, row.organization_id, [], [events.of_ended(operation.id)])
        return Commanded(row.id, row.status.value, operation)
    session.add(operation)
    commanded = await terminate(session, principal, row.id)
    await session.refresh(operation)
    return Commanded(row.id, commanded.status, operation, commanded.message)


async def _terminate_unborn(session: AsyncSession, principal: Principal, row: Instance) -> Commanded:
    before, now = row.status, await began_at(session)
    row.status = advance(before, InstanceStatus.TERMINATED)
    row.desired_status = DesiredStatus.TERMINATED
    row.deletion_reason, row.terminated_at = NO_PROVIDER_RESOURCE, now
    row.waiting_on = row.waiting_params = row.waiting_since = row.held_code = row.held_since = None
    row.version += 1
    change = _change(row, before, row.deletion_reason)
    given_up: list[events.NewEvent] = []
    for kind in (OperationKind.INSTANCE_PROVISION, OperationKind.INSTANCE_REINSTALL):
        pending = await operations.find_open(session, row.id, kind)
        if pending is not None:
            pending.status, pending.completed_at = OperationStatus.CANCELLED, now
            operations.wait_for_nothing(pending)
            session.add(pending)
            given_up.append(events.of_ended(pending.id))
    operation = operations.new(INSTANCE, row.id, OperationKind.INSTANCE_TERMINATE, principal, now=now)
    operation.status, operation.progress_percent = OperationStatus.SUCCEEDED, Decimal(100)
    operation.completed_at = now
    operations.wait_for_nothing(operation)
    operation.result = {"instance_id": str(row.id), "status": row.status.value}
    await session.flush()
    log = _log(principal, row, operation, "REQUEST_TERMINATE", before=before, now=now)
    news = events.of_command(row.organization_id, INSTANCE.resource_kind, row.id, log.id)
    await insert_and_announce(session, row.organization_id, [operation, change, log], [*given_up, *news])
    return Commanded(row.id, row.status.value, operation)


async def _command(
    session: AsyncSession, principal: Principal, row: Instance, kind: OperationKind, action_type: str
) -> Commanded:
    if row.waiting_on is None:
        row.waiting_on, row.waiting_since = operations.FOR_ITS_OWNER, await began_at(session)
    await session.flush()
    asked = await ask(
        session,
        principal,
        INSTANCE,
        row.id,
        kind,
        action_type=action_type,
        before=row.status.value,
        after=row.status.value,
        provider_code=row.provider_code,
    )
    status = "terminating" if kind is OperationKind.INSTANCE_TERMINATE else row.status.value
    return Commanded(row.id, status, asked.operation, asked.message)


async def _tell_again(session: AsyncSession, row: Instance, operation: Operation) -> OutboxMessage:
    """A repeated command wakes the owner once more: whoever asks twice wants to see it move."""
    message = outbox.new(
        INSTANCE,
        row.id,
        organization_id=row.organization_id,
        kind=DeliveryKind.COMMAND,
        payload={"instance_id": str(row.id), "operation_id": str(operation.id)},
        now=await began_at(session),
        grace=EAGER_GRACE,
        provider_code=row.provider_code,
    )
    session.add(message)
    return outbox.message_of(message)


def _facts(row: Instance) -> Commandable:
    return Commandable(
        status=row.status,
        desired_status=row.desired_status,
        provider=PROVIDER_KINDS.of(row.provider_code),
        is_create_attempted=row.create_attempted_at is not None,
        has_machine=row.provider_instance_id is not None and row.endpoint_host is not None,
    )


async def _locked(session: AsyncSession, instance_id: UUID) -> Instance:
    statement = locked(select(Instance).where(Instance.id == instance_id), refers=True)
    row = (await session.exec(statement)).one_or_none()
    if row is None:
        raise instance_not_found()
    return row


def _change(row: Instance, before: InstanceStatus, reason: str) -> InstanceStateChange:
    return InstanceStateChange(
        organization_id=row.organization_id,
        instance_id=row.id,
        version=row.version,
        from_status=before,
        to_status=row.status,
        reason=reason,
    )


def _log(
    principal: Principal,
    row: Instance,
    operation: Operation | None,
    action_type: str,
    *,
    before: InstanceStatus,
    now: datetime,
) -> ActionLog:
    return ActionLog(
        organization_id=row.organization_id,
        action_type=action_type,
        component=ActionComponent.API,
        status=ActionStatus.SUCCESS,
        instance_id=row.id,
        operation_id=operation.id if operation else None,
        user_id=principal.user_id,
        instance_status_before=before.value,
        instance_status_after=row.status.value,
        duration_ms=0,
        completed_at=now,
    )
