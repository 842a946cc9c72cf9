"""The table of toys, as a family's module in `models/tables` would say it, and its making, which stands for a migration."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import create_engine
from sqlmodel import SQLModel

from models.domain.holds import HoldCode
from models.migrations.settling import settle
from models.repositories.urls import driver_url
from models.settings import load_settings
from models.settings.derived import admin_url, as_owner
from models.tables import TABLES
from models.tables.access import ALL, INSERT, SELECT, UPDATE, tenant_table
from models.tables.columns import enumeration, moment, open_enumeration, primary_key, reference, text
from tests.toys.contracts import TOY, Phase


class Toy(SQLModel, table=True):
    __tablename__ = "toys"
    __table_args__ = tenant_table(api={SELECT: ALL, INSERT: ALL}, worker={SELECT: ALL, UPDATE: ALL})

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id")
    name: str = text()
    status: Phase = enumeration(Phase, default=Phase.ORDERED, constraint="toy_phase")
    version: int = 0
    last_projection_id: UUID | None = None
    held_code: str | None = open_enumeration(HoldCode, column="held_code", nullable=True)
    held_since: datetime | None = moment(nullable=True)
    created_at: datetime = moment(default_now=True)
    ended_at: datetime | None = moment(nullable=True)


def make_table() -> None:
    table = Toy.__table__  # type: ignore[attr-defined]  # which every such class has
    with create_engine(driver_url(as_owner(admin_url(load_settings())))).begin() as connection:
        table.create(connection, checkfirst=True)
        settle(connection, tables=[*TABLES, table], added_words={"operationkind": TOY.operations})
