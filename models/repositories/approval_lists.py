"""Approvals as readers page through them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.domain.approvals import ApprovalStatus
from models.tables.approvals import Approval


@dataclass(frozen=True, slots=True)
class ApprovalFilter:
    """What is None does not filter."""

    status: ApprovalStatus | None = None
    operation_id: UUID | None = None
    resource_id: UUID | None = None


async def page(
    session: AsyncSession, wanted: ApprovalFilter, *, before: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Approval]:
    """Up to `limit` approvals, newest first, older than `before`: (`asked_at`, id) of the last one seen."""
    statement = select(Approval).order_by(col(Approval.asked_at).desc(), col(Approval.id).desc()).limit(limit)
    if wanted.status is not None:
        statement = statement.where(Approval.status == wanted.status)
    if wanted.operation_id is not None:
        statement = statement.where(Approval.operation_id == wanted.operation_id)
    if wanted.resource_id is not None:
        statement = statement.where(Approval.resource_id == wanted.resource_id)
    if before is not None:
        statement = statement.where(tuple_(col(Approval.asked_at), col(Approval.id)) < before)
    return (await session.exec(statement)).all()
