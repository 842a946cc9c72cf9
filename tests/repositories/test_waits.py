"""What rows of before wait for, after the migration that made codes of their sentences."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest
from sqlmodel import Session, select

from models.base.clock import utc_now
from models.contracts.operations import Held
from models.domain.holds import HoldCode
from models.domain.sentences import WAITS, wait_of_row
from models.migrations import upgrade
from models.tables.operations import Operation
from tests.factories.added_tables import add_tables
from tests.factories.any_rows import insert_any
from tests.factories.owning import owning
from tests.servers import TestDatabase, TestPostgres

BEFORE = "0026"
SENTENCES = {
    "the node agent to register": "AGENT_REGISTERS",
    "its owner to begin": "OWNER",
    "a machine of the moon": "OTHER",
}


@pytest.mark.parametrize("table", ["instances", "operations"])
def test_a_sentence_of_before_is_a_code(postgres: TestPostgres, table: str) -> None:
    database = postgres.create_at(BEFORE)
    try:
        with psycopg.connect(database.admin) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(
                f"ALTER TABLE {table} ADD COLUMN waiting_params jsonb"
            )  # the row is made of what code knows
            for sentence in SENTENCES:
                insert_any(connection, table, uuid4())
                connection.execute(f"UPDATE {table} SET waiting_on = %s WHERE waiting_on IS NULL", [sentence])  # noqa: S608
            connection.execute(f"ALTER TABLE {table} DROP COLUMN waiting_params")
        upgrade(database.owner)
        with psycopg.connect(database.admin) as connection:
            rows = connection.execute(f"SELECT waiting_on, waiting_params FROM {table}").fetchall()  # noqa: S608
    finally:
        postgres.drop(database)
    assert {wait_of_row(on, params)[0] for on, params in rows} == set(SENTENCES.values())
    assert {on for on, _ in rows if on not in WAITS} == {"a machine of the moon"}


def test_a_family_holds_by_a_code_of_its_own(database: TestDatabase) -> None:
    add_tables(database, words={"holdcode": ["TOY_STUCK"]})
    with psycopg.connect(database.admin) as connection:
        connection.execute("SET session_replication_role = replica")
        for code in ("TOY_STUCK", "PROVIDER_AUTH"):
            insert_any(connection, "operations", uuid4())
            connection.execute("UPDATE operations SET held_code = %s WHERE held_code IS NULL", [code])
        with pytest.raises(psycopg.errors.CheckViolation), connection.transaction():
            connection.execute("UPDATE operations SET held_code = 'OF_NOBODY'")
    with owning(database) as connection:
        codes = list(Session(connection).exec(select(Operation.held_code)))
    assert set(codes) == {"TOY_STUCK", HoldCode.PROVIDER_AUTH}
    held = Held.model_validate_json(Held(code="TOY_STUCK", since=utc_now()).model_dump_json())
    assert held.code == "TOY_STUCK"
    assert Held.model_validate({"code": "PROVIDER_AUTH", "since": utc_now()}).code is HoldCode.PROVIDER_AUTH
