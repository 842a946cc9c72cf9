"""What owners ask of people, and what these decided."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import SQLModel

from models.domain.approvals import ApprovalStatus, DecidedBy, Verdict
from models.tables.access import ALL, INSERT, SELECT, UPDATE, tenant_table
from models.tables.columns import document, enumeration, identifier, moment, price, primary_key, reference, text

_DECISION = ("status", "decided_by", "decided_by_user_id", "decided_by_api_key_id", "decided_at", "comment")
_SETTLED = ("status", "decided_by", "decided_at")


class Approval(SQLModel, table=True):
    """`comment` is the words of who decided; it stays in this row."""

    __tablename__ = "approvals"
    __table_args__ = tenant_table(
        Index("ix_approvals_listing", "organization_id", "asked_at", "id"),
        Index(
            "ix_approvals_question",
            "resource_id",
            "operation_id",
            "code",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        Index("ix_approvals_operation", "operation_id"),
        worker={SELECT: ALL, INSERT: ALL, UPDATE: _SETTLED},
        api={SELECT: ALL, UPDATE: _DECISION},
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id", index=False)
    resource_kind: str = text()
    resource_id: UUID = identifier()
    operation_id: UUID | None = reference("operations.id", nullable=True, index=False)
    code: str = text()
    params: dict[str, object] = document()
    permission: str = text()
    asker_may_approve: bool
    asked_for_user_id: UUID | None = reference("users.id", nullable=True, index=False)
    cost_eur: Decimal | None = price(nullable=True)
    asked_at: datetime = moment()
    until: datetime = moment()
    on_deadline: Verdict = enumeration(Verdict)
    status: ApprovalStatus = enumeration(ApprovalStatus, default=ApprovalStatus.PENDING)
    decided_by: DecidedBy | None = enumeration(DecidedBy, nullable=True)
    decided_by_user_id: UUID | None = reference("users.id", nullable=True, index=False)
    decided_by_api_key_id: UUID | None = reference("api_keys.id", nullable=True, index=False)
    decided_at: datetime | None = moment(nullable=True)
    comment: str | None = text(nullable=True)
