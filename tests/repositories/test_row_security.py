"""The second wall: what a query without a tenant, or with the wrong one, can see and do in the database (DESIGN 3).

The wall is the policies'. What a role may do at all is another matter (`test_grants.py`); here it may do everything to every row, so
that nothing but a policy stands in its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import Connection, errors, sql

from models.base.ids import new_id
from tests.factories.any_rows import insert_any, tenant_tables
from tests.servers import TestDatabase

TABLES = tenant_tables()
ROLES = ["api", "worker"]
HERS, THEIRS = new_id(), new_id()


@dataclass(frozen=True)
class Wall:
    """A database whose roles may read and write every table of an organization."""

    database: TestDatabase

    @contextmanager
    def as_role(self, role: str, organization_id: UUID | None) -> Iterator[Connection[Any]]:
        """A transaction as the processes begin one; rolled back."""
        with psycopg.connect(getattr(self.database, role)) as connection:
            if organization_id is not None:
                connection.execute("SELECT set_config('app.organization_id', %s, true)", [str(organization_id)])
            yield connection
            connection.rollback()


def query(text: str, table: str) -> sql.Composed:
    return sql.SQL(text).format(sql.Identifier(table))


def opened(database: TestDatabase) -> Wall:
    with psycopg.connect(database.owner) as connection:
        for table in (*TABLES, "organizations", "users"):
            connection.execute(
                query("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO quarterdeck_api, quarterdeck_worker", table)
            )
    return Wall(database)


@pytest.fixture(scope="module")
def wall(module_database: TestDatabase) -> Wall:
    """Each of two organizations has one row in every table."""
    with psycopg.connect(module_database.admin) as connection:
        connection.execute("SET session_replication_role = replica")  # no references are checked, no triggers run
        for table in TABLES:
            for organization_id in (HERS, THEIRS):
                insert_any(connection, table, organization_id)
    return opened(module_database)


def test_there_are_tenant_tables_and_the_database_knows_the_same_ones(wall: Wall):
    with psycopg.connect(wall.database.admin) as connection:
        rows = connection.execute(
            "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity FROM pg_class c "
            "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'organization_id' "
            "WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace AND NOT c.relispartition"
        ).fetchall()
    assert {name for name, _, _ in rows} == set(TABLES)
    assert [name for name, is_enabled, is_forced in rows if not (is_enabled and is_forced)] == []
    assert len(TABLES) > 15


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("table", TABLES)
def test_without_a_tenant_there_are_no_rows(wall: Wall, table: str, role: str):
    for organization_id in (None, new_id()):
        with wall.as_role(role, organization_id) as connection:
            assert connection.execute(query("SELECT count(*) FROM {}", table)).fetchone() == (0,)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("table", TABLES)
def test_with_a_tenant_there_are_its_rows_only(wall: Wall, table: str, role: str):
    with wall.as_role(role, HERS) as connection:
        seen = connection.execute(query("SELECT organization_id FROM {}", table)).fetchall()
        assert seen == [(HERS,)]
        theirs = connection.execute(query("SELECT 1 FROM {} WHERE organization_id = %s", table), [THEIRS]).fetchall()
        assert theirs == []


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("table", TABLES)
def test_a_row_for_another_organization_is_refused(wall: Wall, table: str, role: str):
    with (
        wall.as_role(role, HERS) as connection,
        pytest.raises(errors.InsufficientPrivilege, match="row-level security"),
    ):
        insert_any(connection, table, THEIRS)
    with (
        wall.as_role(role, None) as connection,
        pytest.raises(errors.InsufficientPrivilege, match="row-level security"),
    ):
        insert_any(connection, table, HERS)
    with wall.as_role(role, HERS) as connection:
        try:
            insert_any(connection, table, HERS)
        except errors.ForeignKeyViolation:
            return  # past the wall: what the row refers to does not exist


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("table", TABLES)
def test_a_row_cannot_be_given_away_and_anothers_cannot_be_touched(wall: Wall, table: str, role: str):
    with wall.as_role(role, HERS) as connection:
        touched = connection.execute(query("UPDATE {} SET organization_id = organization_id", table))
        assert touched.rowcount == 1
        taken = connection.execute(
            query("UPDATE {} SET organization_id = %s WHERE organization_id = %s", table), [HERS, THEIRS]
        )
        assert taken.rowcount == 0
        with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
            connection.execute(query("UPDATE {} SET organization_id = %s", table), [THEIRS])


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("table", TABLES)
def test_another_organizations_rows_cannot_be_deleted(wall: Wall, table: str, role: str):
    with wall.as_role(role, HERS) as connection:
        gone = connection.execute(query("DELETE FROM {} WHERE organization_id <> current_organization()", table))
        assert gone.rowcount == 0
        assert connection.execute(query("DELETE FROM {}", table)).rowcount == 1
    with psycopg.connect(wall.database.admin) as connection:
        assert connection.execute(query("SELECT count(*) FROM {}", table)).fetchone() == (2,)


@pytest.mark.parametrize("role", ROLES)
def test_the_wall_cannot_be_taken_down_from_inside(wall: Wall, role: str):
    attempts = (
        "SET ROLE quarterdeck_owner",
        "SET session_replication_role = replica",
        "ALTER TABLE instances DISABLE ROW LEVEL SECURITY",
        "DROP POLICY instances_tenant ON instances",
        "CREATE TABLE public.mine (id int)",
        "TRUNCATE instances",
        "COPY instances TO PROGRAM 'cat'",
    )
    for attempt in attempts:
        with wall.as_role(role, HERS) as connection, pytest.raises(psycopg.Error) as refused:
            connection.execute(attempt)
        assert isinstance(refused.value, errors.InsufficientPrivilege | errors.FeatureNotSupported), attempt
    with wall.as_role(role, HERS) as connection:
        connection.execute("SET LOCAL row_security = off")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM instances")
    with psycopg.connect(wall.database.admin) as connection:
        flags = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = %s",
            [f"quarterdeck_{role}"],
        ).fetchone()
    assert flags == (False, False, False, False)


@pytest.mark.parametrize("role", ROLES)
def test_views_and_partitions_are_no_way_round(wall: Wall, role: str):
    """Row-level security is the parent's: read by its own name, a partition has none, and a view has its owner's."""
    with psycopg.connect(wall.database.admin) as connection:
        open_ones = connection.execute(
            "SELECT c.relname FROM pg_class c "
            "WHERE c.relnamespace = 'public'::regnamespace AND (c.relispartition OR c.relkind IN ('v', 'm')) "
            "AND has_any_column_privilege(%s, c.oid, 'SELECT, INSERT, UPDATE')",
            [f"quarterdeck_{role}"],
        ).fetchall()
        there = connection.execute("SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r'").fetchone()
    assert there is not None
    assert there[0] > 0
    assert open_ones == []


def test_functions_that_cross_tenants_are_for_one_role_and_cannot_be_led_astray(wall: Wall):
    with psycopg.connect(wall.database.admin) as connection:
        found = connection.execute(
            "SELECT p.proname, has_function_privilege('public', p.oid, 'EXECUTE'), "
            "coalesce(array_to_string(p.proconfig, ','), '') FROM pg_proc p "
            "WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef"
        ).fetchall()
    assert len(found) > 10
    assert [name for name, is_public, _ in found if is_public] == []
    assert [name for name, _, settings in found if "search_path=public, pg_temp" not in settings] == []


@pytest.mark.parametrize("role", ROLES)
def test_an_event_goes_to_no_other_organization(wall: Wall, role: str):
    with wall.as_role(role, HERS) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("SELECT append_event(%s, %s, 'instance.updated', '{}')", [f"organization/{THEIRS}", THEIRS])


@pytest.mark.parametrize("role", ROLES)
def test_organizations_and_people_are_seen_by_their_own(database: TestDatabase, role: str):
    ids = {name: new_id() for name in ("hers", "theirs", "she", "they")}
    with psycopg.connect(database.admin) as connection:
        for organization, user in (("hers", "she"), ("theirs", "they")):
            connection.execute(
                "INSERT INTO organizations (id, name, slug, is_personal, allow_registration) VALUES (%s, %s, %s, false, false)",
                [ids[organization], organization, organization],
            )  # fmt: skip
            connection.execute(
                "INSERT INTO users (id, username, email, is_superadmin) VALUES (%s, %s, %s, false)",
                [ids[user], user, f"{user}@example.org"],
            )
            connection.execute(
                "INSERT INTO memberships (organization_id, user_id, role) VALUES (%s, %s, 'user')",
                [ids[organization], ids[user]],
            )
    open_wall = opened(database)
    for organization_id, organizations, users in ((None, [], []), (ids["hers"], [(ids["hers"],)], [(ids["she"],)])):
        with open_wall.as_role(role, organization_id) as connection:
            assert connection.execute("SELECT id FROM organizations").fetchall() == organizations
            assert connection.execute("SELECT id FROM users").fetchall() == users
    with open_wall.as_role("api", ids["hers"]) as connection:
        connection.execute("SELECT set_config('app.user_id', %s, true)", [str(ids["she"])])
        renamed = connection.execute("UPDATE users SET first_name = 'x' WHERE id = %s", [ids["they"]])
        assert renamed.rowcount == 0
        assert connection.execute("UPDATE users SET first_name = 'x'").rowcount == 1
