"""Operations: made with a command, moved by the owner of what they are about."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import NotFound
from models.contracts.instances import OperationChange
from models.domain.operations import OPEN, OperationKind, OperationStatus, advance
from models.tables.instances import Instance
from models.tables.operations import Operation


async def get(session: AsyncSession, operation_id: UUID, *, lock: bool = False) -> Operation:
    """The operation. Raises NotFound, also for another organization's."""
    statement = select(Operation).where(Operation.id == operation_id)
    row = (await session.exec(statement.with_for_update() if lock else statement)).one_or_none()
    if row is None:
        raise NotFound("this operation does not exist", code="OPERATION_NOT_FOUND")
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


async def apply_changes(
    session: AsyncSession, row: Instance, changes: Sequence[OperationChange], now: datetime
) -> list[UUID]:
    """Move every open operation of each change's kind; the ids that moved. What is finished stays finished."""
    moved: list[UUID] = []
    for change in changes:
        statement = select(Operation).where(
            Operation.resource_id == row.id, Operation.kind == change.kind, col(Operation.status).in_(OPEN)
        )
        for operation in (await session.exec(statement)).all():
            if operation.status is change.status:
                continue
            operation.status = advance(operation.status, change.status)
            operation.error_code, operation.error_message = change.error_code, change.error_message
            if change.status is OperationStatus.RUNNING:
                operation.started_at = now
            else:
                operation.completed_at = now
                operation.waiting_on = operation.waiting_since = operation.waiting_until = None
            if change.status is OperationStatus.SUCCEEDED:
                operation.progress_percent = Decimal(100)
                operation.result = {"instance_id": str(row.id), "status": row.status.value}
            session.add(operation)
            moved.append(operation.id)
    await session.flush()
    return moved
