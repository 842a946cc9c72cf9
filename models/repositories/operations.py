"""Operations: made with a command, moved by the owner of what they are about."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import bindparam
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import NotFound
from models.contracts.instances import OperationChange
from models.domain.operations import OPEN, OperationKind, OperationStatus, advance
from models.repositories.locking import locked
from models.tables.instances import Instance
from models.tables.operations import Operation

_OPEN_ON = (
    select(Operation)
    .where(Operation.resource_id == bindparam("resource_id"), col(Operation.status).in_(OPEN))
    .order_by(col(Operation.id))
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


async def find_open(session: AsyncSession, resource_id: UUID, kind: OperationKind) -> Operation | None:
    """The oldest open operation of this kind on the resource."""
    statement = (
        select(Operation)
        .where(Operation.resource_id == resource_id, Operation.kind == kind, col(Operation.status).in_(OPEN))
        .order_by(col(Operation.id))
        .limit(1)
    )
    return (await session.exec(statement)).one_or_none()


async def open_on(session: AsyncSession, resource_id: UUID) -> list[Operation]:
    """The open operations on the resource, oldest first."""
    return list((await session.exec(_OPEN_ON, params={"resource_id": resource_id})).all())


def apply_changes(
    row: Instance, pending: Sequence[Operation], changes: Sequence[OperationChange], now: datetime
) -> list[Operation]:
    """Move the pending operations that each change means; those that moved. What is finished stays finished."""
    moved: list[Operation] = []
    for change in changes:
        for operation in pending:
            is_meant = operation.kind is change.kind and (change.ids is None or operation.id in change.ids)
            if is_meant and operation.status in OPEN and operation.status is not change.status:
                _apply(operation, change, row, now)
                moved.append(operation)
    return moved


def wait_for_nothing(operation: Operation) -> None:
    """Once it is over."""
    operation.waiting_on = operation.waiting_since = operation.waiting_until = None
    operation.held_code = operation.held_since = None


def _apply(operation: Operation, change: OperationChange, row: Instance, now: datetime) -> None:
    operation.status = advance(operation.status, change.status)
    operation.error_code, operation.error_message = change.error_code, change.error_message
    if change.status is OperationStatus.RUNNING:
        operation.started_at = now
    else:
        operation.completed_at = now
        wait_for_nothing(operation)
    if change.status is OperationStatus.SUCCEEDED:
        operation.progress_percent = Decimal(100)
        operation.result = {"instance_id": str(row.id), "status": row.status.value}
