"""The record of every inference request: what was asked of which instance, by whom, for how many tokens. Never its text."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Column, Index, LargeBinary, UniqueConstraint
from sqlmodel import Field, SQLModel

from models.domain.inference.records import InferenceOutcome, UsageSource
from models.tables.access import ALL, DELETE, INSERT, READ, SELECT, UPDATE, tenant_table
from models.tables.columns import enumeration, moment, primary_key, reference, text


class InferenceRequest(SQLModel, table=True):
    """One call of one model server. Writing a record again changes nothing.

    `request_id` is what the caller knows the request by; callers may choose it, so it is no key. Where a first instance failed
    before its first byte and another took over, the failed call has a record of its own, and `retried_as` is the id of the one
    that followed: requests are the rows without it.
    """

    __tablename__ = "inference_requests"
    __table_args__ = tenant_table(
        Index("ix_inference_requests_listing", "organization_id", "started_at"),
        Index("ix_inference_requests_instance", "instance_id", "started_at"),
        api=READ,
    )

    id: UUID = primary_key()
    retried_as: UUID | None = None
    request_id: str = text()
    organization_id: UUID = reference("organizations.id", index=False)
    user_id: UUID = reference("users.id", index=False)
    api_key_id: UUID | None = reference("api_keys.id", nullable=True, index=False)
    model_id: UUID | None = reference("models.id", nullable=True, index=False)
    model: str = text()
    instance_id: UUID | None = reference("instances.id", nullable=True, index=False)
    endpoint: str = text()
    is_stream: bool = False
    outcome: InferenceOutcome = enumeration(InferenceOutcome)
    http_status: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    usage_source: UsageSource = enumeration(UsageSource)
    started_at: datetime = moment()
    first_byte_at: datetime | None = moment(nullable=True)
    completed_at: datetime = moment()
    recorded_at: datetime = moment(default_now=True)


_CLAIMED = (
    "request_hash", "claim", "lease_until", "instance_id", "status_code", "content_type", "body", "expires_at",
)  # fmt: skip


class InferenceResult(SQLModel, table=True):
    """The answer to a call with an `Idempotency-Key`, kept for 24 hours (DESIGN 5). `body` is encrypted.

    Without `status_code` the call is running: `claim` names who runs it and `lease_until` how long that is believed without news.
    """

    __tablename__ = "inference_results"
    __table_args__ = tenant_table(
        UniqueConstraint("organization_id", "principal", "route", "key"),
        api={SELECT: ALL, INSERT: ALL, UPDATE: _CLAIMED, DELETE: ALL},
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id", index=False)
    principal: str = text()
    route: str = text()
    key: str = text()
    request_hash: str = text()
    claim: UUID
    lease_until: datetime = moment()
    instance_id: UUID | None = None
    status_code: int | None = None
    content_type: str | None = text(nullable=True)
    body: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    created_at: datetime = moment(default_now=True)
    expires_at: datetime = moment(index=True)
