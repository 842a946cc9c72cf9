"""Sealed values in a table: what the database holds, what a row that was moved gives away, and what gets in."""

from __future__ import annotations

import pickle
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy.exc import StatementError
from sqlmodel import SQLModel, select

from models.base.ids import new_id
from models.domain.sealing import SealBroken, Sealed, TenantSeals
from models.repositories.database import Database
from models.tables.access import ALL, INSERT, SELECT, tenant_table
from models.tables.columns import primary_key, reference, text
from models.tables.sealed import cell_of, sealed
from tests.factories import identity
from tests.factories.added_tables import add_tables
from tests.factories.rows import Rows
from tests.servers import TestDatabase

SECRET = "a password that nobody may read"
SEALS = TenantSeals([b"k" * 32])


class Locker(SQLModel, table=True):
    __tablename__ = "lockers"
    __table_args__ = tenant_table(api={SELECT: ALL, INSERT: ALL}, worker={SELECT: ALL})

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id")
    name: str = text()
    password: Sealed = sealed("password")
    token: Sealed | None = sealed("token", nullable=True)


@pytest.fixture(scope="module")
def lockers(module_database: TestDatabase) -> TestDatabase:
    add_tables(module_database, Locker.__table__)  # type: ignore[attr-defined]
    return module_database


def locker(organization_id: UUID, secret: str = SECRET) -> Locker:
    row = Locker(id=new_id(), organization_id=organization_id, name="mine", password=Sealed(""))
    row.password = SEALS.seal(SecretStr(secret), cell_of(row, "password"))
    return row


@pytest.fixture
def organization_id(lockers: TestDatabase) -> UUID:
    rows, organization = Rows(lockers), identity.organization("Acme")
    rows.add(organization)
    rows.close()
    return organization.id


def opened(row: Locker) -> str:
    return SEALS.open(row.password, cell_of(row, "password")).get_secret_value()


async def test_what_is_sealed_comes_back_and_the_database_never_saw_it(lockers: TestDatabase, organization_id: UUID):
    database, row = Database(lockers.api), locker(organization_id)
    try:
        async with database.tenant(organization_id) as session:
            session.add(row)
        async with database.tenant(organization_id) as session:
            [read] = (await session.exec(select(Locker))).all()
        assert (opened(read), read.token) == (SECRET, None)
    finally:
        await database.close()
    with psycopg.connect(lockers.admin) as connection:
        [stored] = connection.execute("SELECT lockers::text FROM lockers WHERE id = %s", (row.id,)).fetchone() or ("",)
    assert SECRET not in stored
    assert "qd1s." in stored
    assert SECRET not in repr(read)


@pytest.mark.parametrize("value", ["plain text", SecretStr(SECRET), b"bytes", 7])
async def test_nothing_else_gets_into_such_a_column(lockers: TestDatabase, organization_id: UUID, value: Any):
    database, row = Database(lockers.api), locker(organization_id)
    row.password = value
    try:
        with pytest.raises(StatementError) as refused:
            async with database.tenant(organization_id) as session:
                session.add(row)
        assert SECRET not in str(refused.value)
        assert "plain text" not in str(refused.value)
    finally:
        await database.close()


@pytest.mark.parametrize(
    "value", ["plain", "", "qd1s.0123456789abcdef.", "qd1x.0123456789abcdef.aaaa", "qd1s.0123456789abcdef.aaaa\n"]
)
def test_nor_past_our_code(lockers: TestDatabase, organization_id: UUID, value: str):
    with psycopg.connect(lockers.admin) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            "INSERT INTO lockers (id, organization_id, name, password) VALUES (%s, %s, 'x', %s)",
            (new_id(), organization_id, value),
        )


def test_a_value_that_is_moved_opens_nowhere(organization_id: UUID):
    mine, other_row, other_tenant = locker(organization_id), locker(organization_id), locker(new_id())
    for thief in (other_row, other_tenant):
        thief.password = mine.password
        with pytest.raises(SealBroken):
            opened(thief)
    mine.token = mine.password
    with pytest.raises(SealBroken):
        SEALS.open(mine.token, cell_of(mine, "token"))
    assert opened(mine) == SECRET


def test_a_cell_is_that_of_a_sealed_column_in_a_row_with_an_id():
    with pytest.raises(LookupError):
        cell_of(locker(new_id()), "name")
    with pytest.raises(LookupError):
        cell_of(locker(new_id()), "nothing")
    nameless = locker(new_id())
    nameless.id = None  # type: ignore[assignment]
    with pytest.raises(LookupError):
        cell_of(nameless, "password")


def test_what_is_sealed_can_be_copied(organization_id: UUID):
    row = locker(organization_id)
    assert pickle.loads(pickle.dumps(row.password)) == row.password  # noqa: S301
