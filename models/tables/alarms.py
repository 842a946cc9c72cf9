"""Alarms: what is wrong and nobody has mended yet. Raised once and cleared once, by functions of the database alone."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import SQLModel

from models.tables.access import ALL, SELECT, tenant_table
from models.tables.columns import document, identifier, moment, primary_key, reference, text


class Alarm(SQLModel, table=True):
    """`subject` is what the alarm is of, where a resource can have several: a message, a machine, else the resource itself."""

    __tablename__ = "alarms"
    __table_args__ = tenant_table(
        Index("ix_alarms_open", "code", "subject", unique=True, postgresql_where="cleared_at IS NULL"),
        Index("ix_alarms_cleared", "cleared_at", postgresql_where="cleared_at IS NOT NULL"),
        api={SELECT: ALL},
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id")
    code: str = text()
    subject: str = text()
    resource_kind: str | None = text(nullable=True)
    resource_id: UUID | None = identifier(nullable=True)
    params: dict[str, object] = document()
    since: datetime = moment(default_now=True)
    cleared_at: datetime | None = moment(nullable=True)
