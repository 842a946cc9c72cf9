"""Operations: made with a command, moved by the owner of what they are about."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import bindparam
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import NotFound
from models.contracts.operations import OperationChange
from models.contracts.owner_kinds import OwnerKind
from models.domain.identity.principal import Principal
from models.domain.operations import OPEN, OperationStatus, advance
from models.domain.waits import SpineWait
from models.repositories.locking import locked
from models.tables.operations import Operation

FOR_ITS_OWNER = SpineWait.OWNER.value
"""What an operation waits for that nobody has heard of yet."""

_OPEN_ON = (
    select(Operation)
    .where(Operation.resource_id == bindparam("resource_id"), col(Operation.status).in_(OPEN))
    .order_by(col(Operation.id))
)
_OPEN_ON_LOCKED = locked(_OPEN_ON, refers=True)


def new(owner: OwnerKind, resource_id: UUID, kind: str, principal: Principal, *, now: datetime) -> Operation:
    """An operation that the principal asks for, to be inserted. `now` is the transaction's (`began_at`)."""
    return Operation(
        organization_id=principal.organization_id,
        kind=kind,
        status=OperationStatus.PENDING,
        resource_kind=owner.resource_kind,
        resource_id=resource_id,
        workflow_id=owner.workflow_id(resource_id),
        requested_by_user_id=principal.user_id,
        requested_by_api_key_id=principal.api_key_id,
        waiting_on=FOR_ITS_OWNER,
        waiting_since=now,
        created_at=now,
    )


async def get(session: AsyncSession, operation_id: UUID, *, lock: bool = False) -> Operation:
    """The operation. Raises NotFound, also for another organization's."""
    statement = select(Operation).where(Operation.id == operation_id)
    row = (await session.exec(locked(statement) if lock else statement)).one_or_none()
    if row is None:
        raise NotFound(
            "your organization has no such operation; GET /operations lists those it has", code="OPERATION_NOT_FOUND"
        )
    return row


async def find_open(session: AsyncSession, resource_id: UUID, kind: str) -> Operation | None:
    """The oldest open operation of this kind on the resource."""
    statement = (
        select(Operation)
        .where(Operation.resource_id == resource_id, Operation.kind == kind, col(Operation.status).in_(OPEN))
        .order_by(col(Operation.id))
        .limit(1)
    )
    return (await session.exec(statement)).one_or_none()


async def open_on(session: AsyncSession, resource_id: UUID, *, lock: bool = False) -> list[Operation]:
    """The open operations on the resource, oldest first."""
    statement = _OPEN_ON_LOCKED if lock else _OPEN_ON
    return list((await session.exec(statement, params={"resource_id": resource_id})).all())


def apply_changes(
    pending: Sequence[Operation], changes: Sequence[OperationChange], now: datetime, *, result: dict[str, object]
) -> list[Operation]:
    """Move the pending operations that each change means; those that moved. What is finished stays finished.

    `result` is that of each one which succeeds: ids and states, nothing private.
    """
    moved: list[Operation] = []
    for change in changes:
        for operation in pending:
            is_meant = operation.kind == change.kind and (change.ids is None or operation.id in change.ids)
            if is_meant and operation.status in OPEN and operation.status is not change.status:
                _apply(operation, change, now, result)
                moved.append(operation)
    return moved


def given_up(pending: Sequence[Operation]) -> list[OperationChange]:
    """What is open of these ends with its resource."""
    kinds = {operation.kind for operation in pending if operation.status in OPEN}
    return [OperationChange(kind=kind, status=OperationStatus.CANCELLED) for kind in sorted(kinds)]


def wait_for_nothing(operation: Operation) -> None:
    """Once it is over."""
    operation.waiting_on = operation.waiting_params = operation.waiting_since = operation.waiting_until = None
    operation.held_code = operation.held_since = None


def _apply(operation: Operation, change: OperationChange, now: datetime, result: dict[str, object]) -> None:
    operation.status = advance(operation.status, change.status)
    operation.error_code, operation.error_message = change.error_code, change.error_message
    if change.status is OperationStatus.RUNNING:
        operation.started_at = now
    else:
        operation.completed_at = now
        wait_for_nothing(operation)
    if change.status is OperationStatus.SUCCEEDED:
        operation.progress_percent = Decimal(100)
        operation.result = dict(result)
