"""What happened: action logs for people, events for those who follow."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Text
from sqlmodel import Field, SQLModel

from models.tables.access import ALL, APPEND, INSERT, READ_AND_APPEND, SELECT, UPDATE, Rights, tenant_table
from models.tables.columns import (
    big_integer,
    document,
    enumeration,
    identifier,
    key_text,
    moment,
    primary_key,
    reference,
    text,
)


class ActionComponent(StrEnum):
    API = "api"
    ORCHESTRATOR = "orchestrator"


class ActionStatus(StrEnum):
    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILED = "failed"


class ActionLog(SQLModel, table=True):
    """What is about an instance names it as such or as a resource; the database sees to it that both are there."""

    __tablename__ = "action_logs"
    __table_args__ = tenant_table(
        Index("ix_action_logs_listing", "organization_id", "created_at", "id"),
        Index("ix_action_logs_instance", "instance_id", "created_at"),
        CheckConstraint("(resource_kind IS NULL) = (resource_id IS NULL)", name="action_logs_resource"),
        worker=APPEND,
        api=READ_AND_APPEND,
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id", index=False)
    action_type: str = text()
    component: ActionComponent = enumeration(ActionComponent)
    status: ActionStatus = enumeration(ActionStatus)
    instance_id: UUID | None = reference("instances.id", nullable=True, index=False)
    resource_kind: str | None = text(nullable=True)
    resource_id: UUID | None = identifier(nullable=True)
    operation_id: UUID | None = reference("operations.id", nullable=True, index=False)
    user_id: UUID | None = reference("users.id", nullable=True, index=False)
    error_code: str | None = text(nullable=True)
    error_message: str | None = text(nullable=True)
    details: dict[str, object] = document()
    duration_ms: int | None = None
    instance_status_before: str | None = text(nullable=True)
    instance_status_after: str | None = text(nullable=True)
    created_at: datetime = moment(default_now=True)
    completed_at: datetime | None = moment(nullable=True)


_NUMBERED: Rights = {SELECT: ALL, INSERT: ALL, UPDATE: ("last_seq",)}
"""What `append_event` needs of its caller."""


class EventStream(SQLModel, table=True):
    """The counter of one stream. Taking a number locks it until the writer has committed: readers never see a gap (DESIGN 3)."""

    __tablename__ = "event_streams"
    __table_args__ = tenant_table(worker=_NUMBERED, api=_NUMBERED, is_searched=False)

    stream: str = key_text()
    organization_id: UUID = reference("organizations.id", index=False)
    last_seq: int = big_integer()


class Event(SQLModel, table=True):
    """`seq` is above zero once its transaction is committed. Those of an organization get it then (`number_event`)."""

    __tablename__ = "events"
    __table_args__ = tenant_table(
        Index("ix_events_created_at", "created_at"), worker=APPEND, api=READ_AND_APPEND, is_searched=False
    )

    stream: str = Field(sa_column=Column(Text, primary_key=True))
    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    organization_id: UUID = reference("organizations.id", index=False)
    kind: str = text()
    data: dict[str, object] = document()
    created_at: datetime = moment(default_now=True)
