"""A database of before, with rows in every table, ends as a new one does, and keeps them."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql

from models.base.ids import new_id
from models.migrations import is_current, upgrade
from models.tables import metadata
from tests.factories.any_rows import TENANT_COLUMN, tenant_tables, value_for
from tests.servers import TestDatabase, TestPostgres

BEFORE = "0022"
"""Functions, policies and words of enumerations as migrations alone left them."""

NOT_OF_TABLES = {
    "functions": (
        "SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner "
        "WHERE p.pronamespace = 'public'::regnamespace AND r.rolname = 'quarterdeck_owner'"
    ),
    "triggers": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0",
    "policies": "SELECT polname, polrelid::regclass::text, pg_get_expr(polqual, polrelid) FROM pg_policy",
    "rights": (
        "SELECT relname, unnest(relacl)::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND NOT relispartition "
        "UNION ALL SELECT proname, unnest(proacl)::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    ),
    "words": (
        "SELECT conname, conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
    ),
}


def described(database: TestDatabase) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(database.admin) as connection:
        return {name: sorted(connection.execute(question).fetchall()) for name, question in NOT_OF_TABLES.items()}


def counted(connection: Connection[Any], tables: list[str]) -> dict[str, int]:
    count = sql.SQL("SELECT count(*) FROM {}")
    found = {name: connection.execute(count.format(sql.Identifier(name))).fetchone() for name in tables}
    return {name: row[0] for name, row in found.items() if row is not None}


def filled(database: TestDatabase) -> dict[str, int]:
    """Two rows in every table of an organization that there was, with what it asked for."""
    with psycopg.connect(database.admin) as connection:
        connection.execute("SET session_replication_role = replica")  # they refer to nothing that exists
        columns: dict[str, list[str]] = {}
        for table, column in connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
            "AND is_nullable = 'NO' AND column_default IS NULL AND is_generated = 'NEVER'"
        ):
            columns.setdefault(table, []).append(column)
        tables = [name for name in tenant_tables() if name in columns]
        for name in tables:
            for organization_id in (new_id(), new_id()):
                known = metadata.tables[name].columns
                given = {column: value_for(known[column]) for column in columns[name]} | {
                    TENANT_COLUMN: organization_id
                }
                connection.execute(
                    sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                        sql.Identifier(name),
                        sql.SQL(", ").join(map(sql.Identifier, given)),
                        sql.SQL(", ").join([sql.Placeholder()] * len(given)),
                    ),
                    list(given.values()),
                )
        return counted(connection, tables)


def test_it_ends_as_a_new_one(postgres: TestPostgres, database: TestDatabase) -> None:
    older = postgres.create_at(BEFORE)
    try:
        rows = filled(older)
        assert not is_current(older.owner)
        upgrade(older.owner)
        assert is_current(older.owner)
        assert described(older) == described(database)
        with psycopg.connect(older.admin) as connection:
            assert counted(connection, list(rows)) == rows
        assert set(rows.values()) == {2}
        assert len(rows) > 20
    finally:
        postgres.drop(older)


@pytest.mark.parametrize(
    "call", ["SELECT postpone_outbox(gen_random_uuid(), 'X', 1)", "SELECT * FROM claim_outbox(1, 1)"]
)
def test_calls_of_the_version_before_are_answered(database: TestDatabase, call: str) -> None:
    with psycopg.connect(database.worker) as connection:
        connection.execute(call)
