"""A table of an organization is made by one call: whoever adds one gets its policies and rights, or does not get past these."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import Column, Integer, MetaData, Table, Uuid

from models.base.ids import new_id
from models.migrations import upgrade
from models.migrations.settling import settle
from models.migrations.tenancy import Policy, policies_of, read_policies
from models.tables import TABLES
from models.tables.access import ALL, INSERT, READ, SELECT, access_of, shared_table, tenant_table
from tests.factories.added_tables import add_tables
from tests.factories.owning import owning
from tests.servers import TestDatabase, TestPostgres

TENANTS_THEMSELVES = {"organizations", "users"}
"""Their policies are their migration's."""

STATE = """
SELECT relname, xmin::text, relrowsecurity, relforcerowsecurity FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT polname, xmin::text, NULL, NULL FROM pg_policy ORDER BY 1
"""


def state(database: TestDatabase) -> list[tuple[Any, ...]]:
    """With the transaction that wrote each."""
    with psycopg.connect(database.admin) as connection:
        return connection.execute(STATE).fetchall()


def policies(database: TestDatabase) -> set[Policy]:
    with owning(database) as connection:
        return read_policies(connection)


def declared() -> set[Policy]:
    return {policy for table in TABLES if access_of(table).is_tenant for policy in policies_of(table.name)}


def toys() -> Table:
    """A table that no migration knows."""
    *parts, options = tenant_table(worker=READ, api={SELECT: ALL, INSERT: ("id", "organization_id")})
    columns = (
        Column("id", Integer, primary_key=True),
        Column("organization_id", Uuid, index=True),
        Column("size", Integer),
    )
    return Table("toys", MetaData(), *columns, *parts, **options)


def as_owner(database: TestDatabase, *statements: str) -> None:
    with psycopg.connect(database.owner) as connection:
        for statement in statements:
            connection.execute(statement)


def test_in_the_database_every_table_of_an_organization_is_behind_its_policies(module_database: TestDatabase) -> None:
    with psycopg.connect(module_database.admin) as connection:
        tables = connection.execute(
            "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity FROM pg_class c "
            "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'organization_id' AND NOT a.attisdropped "
            "WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace"
        ).fetchall()
    expected = {policy for table, _ in tables for policy in policies_of(table)}
    found = {policy for policy in policies(module_database) if policy.table not in TENANTS_THEMSELVES}
    assert found == expected == declared()
    assert [table for table, is_forced in tables if not is_forced] == []
    assert len(tables) > 20


def test_what_the_migrations_made_is_what_the_call_makes(postgres: TestPostgres) -> None:
    """Migrations up to that one wrote policies by hand."""
    database = postgres.create_at("0022")
    try:
        found = {one for one in policies(database) if one.table not in TENANTS_THEMSELVES}
        there = {one.table for one in found}
        assert found == {one for one in declared() if one.table in there}
        assert len(there) > 20
    finally:
        postgres.drop(database)


def test_what_is_searched_by_organization_has_an_index_for_it(module_database: TestDatabase) -> None:
    with psycopg.connect(module_database.admin) as connection:
        found = connection.execute(
            "SELECT i.indrelid::regclass::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid "
            "AND a.attnum = i.indkey[0] WHERE a.attname = 'organization_id' AND i.indpred IS NULL"
        ).fetchall()
    searched = {table.name for table in TABLES if access_of(table).is_searched}
    assert {table for (table,) in found} == searched


def test_a_table_that_was_just_added_has_them_too(database: TestDatabase) -> None:
    add_tables(database, toys())
    hers, theirs = new_id(), new_id()
    with psycopg.connect(database.owner) as connection:
        connection.execute("INSERT INTO toys (id, organization_id) VALUES (1, %s), (2, %s)", [hers, theirs])
    assert seen(database.api, None) == seen(database.worker, None) == []
    assert seen(database.api, hers) == seen(database.worker, hers) == [1]
    with (
        psycopg.connect(database.worker) as connection,
        pytest.raises(errors.InsufficientPrivilege, match="permission"),
    ):
        connection.execute("INSERT INTO toys (id, organization_id) VALUES (3, %s)", [hers])
    with psycopg.connect(database.api) as connection, pytest.raises(errors.InsufficientPrivilege, match="row-level"):
        connection.execute("INSERT INTO toys (id, organization_id) VALUES (3, %s)", [hers])
    with psycopg.connect(database.api) as connection, pytest.raises(errors.InsufficientPrivilege, match="permission"):
        connection.execute("INSERT INTO toys (id, organization_id, size) VALUES (3, %s, 1)", [hers])


def seen(url: str, organization_id: UUID | None) -> list[int]:
    with psycopg.connect(url) as connection:
        if organization_id is not None:
            connection.execute("SELECT set_config('app.organization_id', %s, true)", [str(organization_id)])
        return [number for (number,) in connection.execute("SELECT id FROM toys ORDER BY id").fetchall()]


def test_applied_again_nothing_is_written(database: TestDatabase) -> None:
    add_tables(database, toys())
    before = state(database)
    with owning(database) as connection:
        settle(connection, tables=[*TABLES, toys()])
    assert state(database) == before


def test_policies_that_drifted_are_put_back_and_an_operators_stays(database: TestDatabase) -> None:
    with psycopg.connect(database.admin, autocommit=True) as connection:
        connection.execute("CREATE ROLE reader")
        try:
            as_owner(
                database,
                "CREATE POLICY of_a_reader ON outbox FOR SELECT TO reader USING (true)",
                "CREATE POLICY too_much ON outbox FOR SELECT TO quarterdeck_api USING (true)",
                "CREATE POLICY for_all ON events USING (true)",
                "DROP POLICY api_keys_tenant ON api_keys",
                "DROP POLICY operations_tenant ON operations",
                "CREATE POLICY operations_tenant ON operations TO quarterdeck_api, quarterdeck_worker USING (true)",
                "ALTER TABLE instances NO FORCE ROW LEVEL SECURITY",
                "ALTER TABLE events DISABLE ROW LEVEL SECURITY",
            )
            upgrade(database.owner)
            left = {one for one in policies(database) if one.table not in TENANTS_THEMSELVES} - declared()
            as_owner(database, "DROP POLICY of_a_reader ON outbox")
        finally:
            connection.execute("DROP ROLE reader")
    assert [one.name for one in left] == ["of_a_reader"]
    assert declared() <= policies(database)
    with psycopg.connect(database.admin) as connection:
        forced = connection.execute(
            "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE relname IN ('instances', 'events')"
        )
        assert forced.fetchall() == [(True,), (True,)]


def test_no_table_is_added_without_saying_whose_it_is() -> None:
    *_, of_tenants = tenant_table()
    *_, shared = shared_table()
    for name, options, told in (
        ("organization_id", {}, r"tenant_table\(\) or shared_table\(\)"),
        ("organization_id", shared, "organization_id"),
        ("id", of_tenants, "organization_id"),
    ):
        with pytest.raises(LookupError, match=told):
            access_of(Table("some", MetaData(), Column(name, Uuid, primary_key=True), **options))
