"""Commands on an instance that exists: terminate, reinstall, archive, cancel. Intent first (DESIGN rule 4)."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.clock import utc_now
from models.base.errors import Conflict, IllegalTransition, MalformedRequest
from models.contracts.outbox import DeliveryKind, OutboxMessage
from models.contracts.workflow_ids import instance_workflow_id
from models.domain.identity.principal import Principal
from models.domain.instances.deletion import NO_PROVIDER_RESOURCE
from models.domain.instances.refusals import instance_not_found
from models.domain.instances.state import FINAL, DesiredStatus, InstanceStatus, advance
from models.domain.operations import OPEN, OperationKind, OperationStatus
from models.repositories import events, operations, outbox
from models.repositories.deployments import EAGER_GRACE
from models.repositories.inserting import insert_and_announce
from models.repositories.locking import locked
from models.tables.activity import ActionComponent, ActionLog, ActionStatus
from models.tables.instances import Instance, InstanceStateChange
from models.tables.operations import Operation, OutboxRow

ENDING = frozenset({InstanceStatus.DRAINING, InstanceStatus.TERMINATING})
FOR_ITS_OWNER = "its owner to begin"


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
    if row.status in FINAL:
        return Commanded(row.id, row.status.value)
    if row.create_attempted_at is None:
        return await _terminate_unborn(session, principal, row)
    pending = await operations.find_open(session, row.id, OperationKind.INSTANCE_TERMINATE)
    if pending is not None:
        return Commanded(row.id, "terminating", pending, _tell_again(session, row, pending))
    row.desired_status = DesiredStatus.TERMINATED
    return await _command(session, principal, row, OperationKind.INSTANCE_TERMINATE, "REQUEST_TERMINATE")


async def reinstall(session: AsyncSession, principal: Principal, instance_id: UUID) -> Commanded:
    """Ask for a fresh install. Raises MalformedRequest (terminated, or no machine yet), Conflict (terminating)."""
    row = await _locked(session, instance_id)
    if row.status in FINAL:
        raise MalformedRequest(
            "a terminated instance cannot be reinstalled; deploy a new one", code="INSTANCE_TERMINATED"
        )
    if row.desired_status is DesiredStatus.TERMINATED or row.status in ENDING:
        raise Conflict(
            "the instance is being terminated and cannot be reinstalled; deploy a new one", code="INSTANCE_TERMINATING"
        )
    if row.provider_instance_id is None or row.endpoint_host is None:
        raise MalformedRequest("the instance has no machine with an address yet", code="INSTANCE_HAS_NO_MACHINE")
    pending = await operations.find_open(session, row.id, OperationKind.INSTANCE_REINSTALL)
    if pending is not None:
        return Commanded(row.id, row.status.value, pending, _tell_again(session, row, pending))
    return await _command(session, principal, row, OperationKind.INSTANCE_REINSTALL, "REQUEST_REINSTALL")


async def archive(session: AsyncSession, principal: Principal, instance_id: UUID) -> Commanded:
    """Take a terminated instance out of the default lists; again is fine. Raises MalformedRequest for any other."""
    row = await _locked(session, instance_id)
    if row.status is InstanceStatus.ARCHIVED:
        return Commanded(row.id, row.status.value)
    try:
        before, row.status = row.status, advance(row.status, InstanceStatus.ARCHIVED)
    except IllegalTransition as error:
        raise MalformedRequest(
            f"only a terminated instance can be archived; this one is {row.visible_status}",
            code="INSTANCE_NOT_TERMINATED",
        ) from error
    row.is_archived = True
    row.version += 1
    await session.flush()
    log = _log(principal, row, None, "ARCHIVE_INSTANCE", before=before)
    news = events.of_command(row.organization_id, row.id, log.id)
    await insert_and_announce(session, row.organization_id, [_change(row, before, "archived"), log], news)
    return Commanded(row.id, row.status.value)


async def cancel(session: AsyncSession, principal: Principal, operation_id: UUID) -> Commanded:
    """Give an operation up. A provision that is given up is compensated: its machine goes. A termination cannot be.

    Raises NotFound; Conflict for an operation that is over, or that cannot be taken back.
    """
    found = await operations.get(session, operation_id)
    row = await _locked(session, found.resource_id)
    operation = await operations.get(session, operation_id, lock=True)
    if operation.status not in OPEN:
        raise Conflict(f"the operation is {operation.status.value} already", code="OPERATION_FINISHED")
    is_unbegun_reinstall = (
        operation.kind is OperationKind.INSTANCE_REINSTALL and operation.status is OperationStatus.PENDING
    )
    if operation.kind is not OperationKind.INSTANCE_PROVISION and not is_unbegun_reinstall:
        raise Conflict("this operation cannot be taken back any more", code="OPERATION_NOT_CANCELLABLE")
    operation.cancel_requested_at = utc_now()
    if is_unbegun_reinstall:
        operation.status, operation.completed_at = OperationStatus.CANCELLED, utc_now()
        operations.wait_for_nothing(operation)
        if row.waiting_on == FOR_ITS_OWNER:
            row.waiting_on = row.waiting_since = None
        row.version += 1  # an owner that decided to begin it finds that it has to look again
        session.add(operation)
        await session.flush()
        return Commanded(row.id, row.status.value, operation)
    session.add(operation)
    commanded = await terminate(session, principal, row.id)
    await session.refresh(operation)
    return Commanded(row.id, commanded.status, operation, commanded.message)


async def _terminate_unborn(session: AsyncSession, principal: Principal, row: Instance) -> Commanded:
    before, now = row.status, utc_now()
    row.status = advance(before, InstanceStatus.TERMINATED)
    row.desired_status = DesiredStatus.TERMINATED
    row.deletion_reason, row.terminated_at = NO_PROVIDER_RESOURCE, now
    row.waiting_on = row.waiting_since = row.held_code = row.held_since = None
    row.version += 1
    change = _change(row, before, row.deletion_reason)
    for kind in (OperationKind.INSTANCE_PROVISION, OperationKind.INSTANCE_REINSTALL):
        pending = await operations.find_open(session, row.id, kind)
        if pending is not None:
            pending.status, pending.completed_at = OperationStatus.CANCELLED, now
            operations.wait_for_nothing(pending)
            session.add(pending)
    operation = _operation(principal, row, OperationKind.INSTANCE_TERMINATE)
    operation.status, operation.progress_percent = OperationStatus.SUCCEEDED, Decimal(100)
    operation.created_at = operation.completed_at = now
    operation.result = {"instance_id": str(row.id), "status": row.status.value}
    await session.flush()
    log = _log(principal, row, operation, "REQUEST_TERMINATE", before=before)
    news = events.of_command(row.organization_id, row.id, log.id)
    await insert_and_announce(session, row.organization_id, [operation, change, log], news)
    return Commanded(row.id, row.status.value, operation)


async def _command(
    session: AsyncSession, principal: Principal, row: Instance, kind: OperationKind, action_type: str
) -> Commanded:
    operation = _operation(principal, row, kind)
    operation.waiting_on, operation.waiting_since = FOR_ITS_OWNER, operation.created_at
    if row.waiting_on is None:
        row.waiting_on, row.waiting_since = FOR_ITS_OWNER, operation.created_at
    await session.flush()
    message = _message(row, operation)
    log = _log(principal, row, operation, action_type, before=row.status)
    news = events.of_command(row.organization_id, row.id, log.id)
    await insert_and_announce(session, row.organization_id, [operation, message, log], news)
    status = "terminating" if kind is OperationKind.INSTANCE_TERMINATE else row.status.value
    return Commanded(row.id, status, operation, outbox.message_of(message, row.provider_code))


def _tell_again(session: AsyncSession, row: Instance, operation: Operation) -> OutboxMessage:
    """A repeated command wakes the owner once more: whoever asks twice wants to see it move."""
    message = _message(row, operation)
    session.add(message)
    return outbox.message_of(message, row.provider_code)


def _message(row: Instance, operation: Operation) -> OutboxRow:
    return outbox.new(
        organization_id=row.organization_id,
        kind=DeliveryKind.COMMAND,
        workflow="Instance",
        workflow_id=operation.workflow_id,
        payload={"instance_id": str(row.id), "operation_id": str(operation.id)},
        not_before=utc_now() + EAGER_GRACE,
    )


def _operation(principal: Principal, row: Instance, kind: OperationKind) -> Operation:
    return Operation(
        organization_id=row.organization_id,
        kind=kind,
        status=OperationStatus.PENDING,
        resource_kind="instance",
        resource_id=row.id,
        workflow_id=instance_workflow_id(row.id),
        requested_by_user_id=principal.user_id,
        requested_by_api_key_id=principal.api_key_id,
        created_at=utc_now(),
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
    principal: Principal, row: Instance, operation: Operation | None, action_type: str, *, before: InstanceStatus
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
        completed_at=utc_now(),
    )
