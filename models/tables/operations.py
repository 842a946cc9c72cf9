"""Commands: the operation that answers for one, the outbox that delivers it, the key that keeps it single."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Index, Numeric, UniqueConstraint
from sqlmodel import Column, Field, SQLModel

from models.contracts.outbox import DeliveryKind
from models.domain.fleet.operations import OperationKind
from models.domain.holds import HoldCode
from models.domain.operations import OperationStatus
from models.tables.access import ALL, DELETE, INSERT, SELECT, UPDATE, tenant_table
from models.tables.columns import (
    document,
    enumeration,
    identifier,
    moment,
    open_enumeration,
    primary_key,
    reference,
    text,
)

_PROJECTED = (
    "status", "progress_percent", "waiting_on", "waiting_params", "waiting_since", "waiting_until", "held_code", "held_since",
    "result", "error_code", "error_message", "started_at", "completed_at",
)  # fmt: skip

_COMMANDED = (
    "status", "waiting_on", "waiting_params", "waiting_since", "waiting_until", "held_code", "held_since", "cancel_requested_at",
    "completed_at",
)  # fmt: skip


class Operation(SQLModel, table=True):
    __tablename__ = "operations"
    __table_args__ = tenant_table(
        Index("ix_operations_listing", "organization_id", "created_at", "id"),
        Index("ix_operations_resource", "resource_id"),
        worker={SELECT: ALL, UPDATE: _PROJECTED},
        api={SELECT: ALL, INSERT: ALL, UPDATE: _COMMANDED},
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id")
    kind: str = open_enumeration(OperationKind, column="kind")
    status: OperationStatus = enumeration(OperationStatus, default=OperationStatus.PENDING)
    resource_kind: str = text()
    resource_id: UUID
    workflow_id: str = text()
    requested_by_user_id: UUID | None = reference("users.id", nullable=True, index=False)
    requested_by_api_key_id: UUID | None = reference("api_keys.id", nullable=True, index=False)
    progress_percent: Decimal = Field(default=Decimal(0), sa_column=Column(Numeric(5, 2), nullable=False))
    waiting_on: str | None = text(nullable=True)
    waiting_params: dict[str, object] | None = document(nullable=True)
    waiting_since: datetime | None = moment(nullable=True)
    waiting_until: datetime | None = moment(nullable=True)
    held_code: str | None = open_enumeration(HoldCode, column="held_code", nullable=True)
    held_since: datetime | None = moment(nullable=True)
    cancel_requested_at: datetime | None = moment(nullable=True)
    result: dict[str, object] | None = document(nullable=True)
    error_code: str | None = text(nullable=True)
    error_message: str | None = text(nullable=True)
    created_at: datetime = moment(default_now=True)
    started_at: datetime | None = moment(nullable=True)
    completed_at: datetime | None = moment(nullable=True)


class OutboxRow(SQLModel, table=True):
    """What the owner of an object must be told, committed with the reason for telling it. Payloads are ids.

    A process of before says nothing of the resource beside the workflow's id.
    """

    __tablename__ = "outbox"
    __table_args__ = tenant_table(
        Index("ix_outbox_due", "next_attempt_at", "id", postgresql_where="delivered_at IS NULL"),
        Index("ix_outbox_delivered", "delivered_at", postgresql_where="delivered_at IS NOT NULL"),
        Index("ix_outbox_alarmed", "alarmed_at", postgresql_where="delivered_at IS NULL AND alarmed_at IS NOT NULL"),
        api={SELECT: ("id", "created_at"), INSERT: ALL},  # what the database chose for a row is read back
        is_searched=False,
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id", index=False)
    kind: DeliveryKind = enumeration(DeliveryKind)
    workflow: str = text()
    workflow_id: str = text()
    resource_kind: str | None = text(nullable=True)
    resource_id: UUID | None = identifier(nullable=True)
    provider_code: str | None = text(nullable=True)
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
    __table_args__ = tenant_table(
        UniqueConstraint("organization_id", "principal", "route", "key"), api={SELECT: ALL, INSERT: ALL, DELETE: ALL}
    )

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
