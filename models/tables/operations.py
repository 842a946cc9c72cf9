"""Commands: the operation that answers for one, the outbox that delivers it, the key that keeps it single."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Index, Numeric, UniqueConstraint
from sqlmodel import Column, Field, SQLModel

from models.contracts.outbox import DeliveryKind
from models.domain.instances.holds import HoldCode
from models.domain.operations import OperationKind, OperationStatus
from models.tables.columns import document, enumeration, moment, primary_key, reference, text


class Operation(SQLModel, table=True):
    __tablename__ = "operations"
    __table_args__ = (
        Index("ix_operations_listing", "organization_id", "created_at", "id"),
        Index("ix_operations_open", "resource_id", postgresql_where="status IN ('pending', 'running')"),
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id")
    kind: OperationKind = enumeration(OperationKind)
    status: OperationStatus = enumeration(OperationStatus, default=OperationStatus.PENDING)
    resource_kind: str = text()
    resource_id: UUID
    workflow_id: str = text()
    requested_by_user_id: UUID | None = reference("users.id", nullable=True, index=False)
    requested_by_api_key_id: UUID | None = reference("api_keys.id", nullable=True, index=False)
    progress_percent: Decimal = Field(default=Decimal(0), sa_column=Column(Numeric(5, 2), nullable=False))
    waiting_on: str | None = text(nullable=True)
    waiting_since: datetime | None = moment(nullable=True)
    waiting_until: datetime | None = moment(nullable=True)
    held_code: HoldCode | None = enumeration(HoldCode, nullable=True)
    held_since: datetime | None = moment(nullable=True)
    cancel_requested_at: datetime | None = moment(nullable=True)
    result: dict[str, object] | None = document(nullable=True)
    error_code: str | None = text(nullable=True)
    error_message: str | None = text(nullable=True)
    created_at: datetime = moment(default_now=True)
    started_at: datetime | None = moment(nullable=True)
    completed_at: datetime | None = moment(nullable=True)


class OutboxRow(SQLModel, table=True):
    """What the owner of an object must be told, committed with the reason for telling it. Payloads are ids."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_due", "next_attempt_at", "id", postgresql_where="delivered_at IS NULL"),
        Index("ix_outbox_delivered", "delivered_at", postgresql_where="delivered_at IS NOT NULL"),
        Index("ix_outbox_alarmed", "alarmed_at", postgresql_where="delivered_at IS NULL AND alarmed_at IS NOT NULL"),
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id", index=False)
    kind: DeliveryKind = enumeration(DeliveryKind)
    workflow: str = text()
    workflow_id: str = text()
    payload: dict[str, object] = document()
    created_at: datetime = moment(default_now=True)
    next_attempt_at: datetime = moment(default_now=True)
    attempts: int = 0
    last_error_code: str | None = text(nullable=True)
    failing_since: datetime | None = moment(nullable=True)
    alarmed_at: datetime | None = moment(nullable=True)
    delivered_at: datetime | None = moment(nullable=True)


class IdempotencyKey(SQLModel, table=True):
    """The first answer to a keyed request, kept for 24 hours (DESIGN 3)."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (UniqueConstraint("organization_id", "principal", "route", "key"),)

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id", index=False)
    principal: str = text()
    route: str = text()
    key: str = text()
    request_hash: str = text()
    status_code: int
    headers: dict[str, object] = document()
    body: dict[str, object] = document()
    created_at: datetime = moment(default_now=True, index=True)
    expires_at: datetime = moment(index=True)
