"""What is to be done again and again for a resource. One workflow keeps Temporal's schedules as these rows say."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlmodel import SQLModel

from models.domain.schedules import Overlap, ScheduleState
from models.tables.access import ALL, INSERT, READ, SELECT, UPDATE, tenant_table
from models.tables.columns import big_integer, enumeration, identifier, moment, primary_key, reference, text

_ASKED_FOR = (
    "operation_kind", "cron", "interval_s", "time_zone", "overlap", "is_paused", "revision", "state", "error_code", "changed_at",
)  # fmt: skip


class Schedule(SQLModel, table=True):
    """One of a kind for each resource. What the API asks for is a new `revision`; the rest is what became of it in Temporal."""

    __tablename__ = "schedules"
    __table_args__ = tenant_table(
        UniqueConstraint("resource_id", "kind", name="schedules_of_resource"),
        Index("ix_schedules_listing", "organization_id", "resource_id"),
        CheckConstraint("cron IS NULL OR interval_s IS NULL", name="schedules_timing"),
        api={SELECT: ALL, INSERT: ALL, UPDATE: _ASKED_FOR},
        worker=READ,
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id", index=False)
    kind: str = text()
    resource_kind: str = text()
    resource_id: UUID = identifier()
    operation_kind: str | None = text(nullable=True)
    cron: str | None = text(nullable=True)
    interval_s: int | None = None
    time_zone: str = text()
    overlap: Overlap = enumeration(Overlap)
    is_paused: bool = False
    revision: int = big_integer()
    state: ScheduleState = enumeration(ScheduleState)
    applied_revision: int = big_integer()
    applied_digest: str | None = text(nullable=True)
    error_code: str | None = text(nullable=True)
    created_at: datetime = moment(default_now=True)
    changed_at: datetime = moment(default_now=True)
    applied_at: datetime | None = moment(nullable=True)
