"""Operations as readers page through them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.domain.operations import OperationStatus
from models.tables.operations import Operation


@dataclass(frozen=True, slots=True)
class OperationFilter:
    """What is None does not filter."""

    kind: str | None = None
    status: OperationStatus | None = None
    resource_id: UUID | None = None


async def page(
    session: AsyncSession, wanted: OperationFilter, *, before: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Operation]:
    """Up to `limit` operations, newest first, older than `before`: (`created_at`, id) of the last one seen."""
    statement = select(Operation).order_by(col(Operation.created_at).desc(), col(Operation.id).desc()).limit(limit)
    if wanted.kind is not None:
        statement = statement.where(Operation.kind == wanted.kind)
    if wanted.status is not None:
        statement = statement.where(Operation.status == wanted.status)
    if wanted.resource_id is not None:
        statement = statement.where(Operation.resource_id == wanted.resource_id)
    if before is not None:
        statement = statement.where(tuple_(col(Operation.created_at), col(Operation.id)) < before)
    return (await session.exec(statement)).all()
