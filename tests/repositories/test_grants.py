"""What each role may do is what tables and functions say where they are made: asked of PostgreSQL, for all that is there."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import Connection, errors

from models.migrations import upgrade
from models.migrations.functions import read_functions
from models.settings.derived import DatabaseRole
from models.tables import TABLES
from models.tables.access import access_of
from tests.servers import TestDatabase

ROLES = list(DatabaseRole)
OURS = {table.name: table for table in TABLES}

# Effective rights: those of PUBLIC and of roles that this one is a member of count as its own.
COLUMNS = """
SELECT c.relname, a.attname, p, has_column_privilege(%(role)s, c.oid, a.attnum, p)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped,
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) p
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
WHOLE = """
SELECT c.relname, p FROM pg_class c, unnest(ARRAY['DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) p
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND has_table_privilege(%(role)s, c.oid, p)
"""
FUNCTIONS_OF_OURS = """
SELECT p.proname, ARRAY(SELECT r FROM unnest(ARRAY['public', 'quarterdeck_worker', 'quarterdeck_api']) r
    WHERE has_function_privilege(r, p.oid, 'EXECUTE'))
FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
"""


def effective(database: TestDatabase, role: DatabaseRole) -> set[tuple[str, str, str]]:
    """(table, column, privilege) of everything that the role may do; a column of `*` for what is no single column's."""
    with psycopg.connect(database.admin) as connection:
        columns = connection.execute(COLUMNS, {"role": role}).fetchall()
        whole = connection.execute(WHOLE, {"role": role}).fetchall()
    assert len({table for table, *_ in columns}) > 30
    return {(table, column, privilege) for table, column, privilege, has in columns if has} | {
        (table, "*", privilege) for table, privilege in whole
    }


def declared(database: TestDatabase, role: DatabaseRole) -> set[tuple[str, str, str]]:
    with psycopg.connect(database.admin) as connection:
        all_columns: dict[str, list[str]] = {}
        for table, column, privilege, _ in connection.execute(COLUMNS, {"role": role}).fetchall():
            if privilege == "SELECT":
                all_columns.setdefault(table, []).append(column)
    expected = set()
    for table in OURS.keys() & all_columns:
        access = access_of(OURS[table])
        for privilege, columns in (access.api if role is DatabaseRole.API else access.worker).items():
            of = ["*"] if privilege == "DELETE" else all_columns[table] if columns is None else columns
            expected |= {(table, column, privilege.value) for column in of}
    return expected


def execute(database: TestDatabase, *statements: str) -> None:
    with psycopg.connect(database.owner) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("role", ROLES)
def test_tables_and_columns_are_granted_as_declared(module_database: TestDatabase, role: DatabaseRole) -> None:
    granted, expected = effective(module_database, role), declared(module_database, role)
    assert sorted(granted - expected) == []
    assert sorted(expected - granted) == []


def test_functions_are_executed_by_whom_their_files_name(module_database: TestDatabase) -> None:
    with psycopg.connect(module_database.admin) as connection:
        found = connection.execute(FUNCTIONS_OF_OURS).fetchall()
    assert {name: set(roles) for name, roles in found} == {one.name: set(one.executors) for one in read_functions()}


@pytest.mark.parametrize("role", ROLES)
def test_beyond_tables_there_is_a_connection_and_no_more(module_database: TestDatabase, role: DatabaseRole) -> None:
    with psycopg.connect(getattr(module_database, role.name.lower())) as connection:
        [row] = connection.execute(
            "SELECT has_database_privilege(current_database(), 'CONNECT'), has_database_privilege(current_database(), 'CREATE'), "
            "has_database_privilege(current_database(), 'TEMP'), has_schema_privilege('public', 'USAGE'), "
            "has_schema_privilege('public', 'CREATE')"
        ).fetchall()
        roles = connection.execute("SELECT rolname FROM pg_roles WHERE pg_has_role(oid, 'MEMBER')").fetchall()
        sequences = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"
        )
        assert row == (True, False, False, True, False)
        assert roles == [(role.value,)]
        assert sequences.fetchall() == [], "say where who may use it"


def test_a_function_of_tomorrow_is_nobodys(database: TestDatabase) -> None:
    execute(database, "CREATE FUNCTION tomorrow() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'")
    for role in ROLES:
        with (
            psycopg.connect(getattr(database, role.name.lower())) as connection,
            pytest.raises(errors.InsufficientPrivilege),
        ):
            connection.execute("SELECT tomorrow()")


def acls(connection: Connection[Any]) -> list[Any]:
    """With the transaction that wrote each row: a right that was granted again, or taken and given back, shows."""
    return connection.execute(
        "SELECT oid, xmin::text, relacl::text FROM pg_class UNION ALL SELECT oid, xmin::text, proacl::text FROM pg_proc "
        "UNION ALL SELECT oid, xmin::text, nspacl::text FROM pg_namespace ORDER BY 1, 2"
    ).fetchall()


def test_migrating_again_puts_rights_back_and_otherwise_touches_none(database: TestDatabase) -> None:
    upgrade(database.owner)
    with psycopg.connect(database.admin) as connection:
        before = acls(connection)
    upgrade(database.owner)
    with psycopg.connect(database.admin) as connection:
        assert acls(connection) == before
    execute(
        database,
        "GRANT ALL ON api_keys TO quarterdeck_worker",
        "GRANT UPDATE (role) ON memberships TO PUBLIC",
        "GRANT UPDATE ON billing_segments TO quarterdeck_worker",  # covers the columns that it is to have
        "GRANT SELECT ON live_identities TO quarterdeck_api WITH GRANT OPTION",
        "GRANT CREATE ON SCHEMA public TO quarterdeck_worker, PUBLIC",
        "GRANT EXECUTE ON FUNCTION load_identities TO PUBLIC",
        "REVOKE SELECT ON instances FROM quarterdeck_api",
        "REVOKE UPDATE (name) ON api_keys FROM quarterdeck_api",
        "REVOKE EXECUTE ON FUNCTION claim_outbox FROM quarterdeck_worker",
    )
    upgrade(database.owner)
    for role in ROLES:
        assert effective(database, role) == declared(database, role)
    test_functions_are_executed_by_whom_their_files_name(database)
    for role in ROLES:
        test_beyond_tables_there_is_a_connection_and_no_more(database, role)


def test_what_an_operator_gave_to_a_role_of_his_own_stays(database: TestDatabase) -> None:
    with psycopg.connect(database.admin, autocommit=True) as connection:
        connection.execute("CREATE ROLE reports")
        try:
            execute(database, "GRANT SELECT ON billing_segments TO reports")
            upgrade(database.owner)
            kept = connection.execute("SELECT has_table_privilege('reports', 'billing_segments', 'SELECT')").fetchone()
        finally:
            execute(database, "REVOKE ALL ON billing_segments FROM reports")
            connection.execute("DROP ROLE reports")
    assert kept == (True,)
