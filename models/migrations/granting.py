"""Makes the rights in a database those that tables and functions declare: grants what is missing, revokes what is too much."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import Connection, Table, text

from models.migrations.functions import DatabaseFunction
from models.settings.derived import DatabaseRole
from models.tables.access import access_of

PUBLIC = "public"
NO_FUNCTIONS_FOR_ALL = "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"
"""For what the current role makes from now on, in any schema: this default cannot be taken back within one."""

# Only of what is the owner role's: an extension's functions and an operator's tables are their owners' to give away.
ACTUAL = """
SELECT 'TABLE', c.relname::text, a.privilege_type, '', coalesce(r.rolname::text, 'public')
FROM pg_class c CROSS JOIN aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE c.relnamespace = 'public'::regnamespace AND c.relowner = current_user::regrole AND a.grantee <> c.relowner
UNION ALL
SELECT 'TABLE', c.relname::text, a.privilege_type, t.attname::text, coalesce(r.rolname::text, 'public')
FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid CROSS JOIN aclexplode(t.attacl) a
    LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE c.relnamespace = 'public'::regnamespace AND c.relowner = current_user::regrole AND a.grantee <> c.relowner
UNION ALL
SELECT 'FUNCTION', p.oid::regprocedure::text, a.privilege_type, '', coalesce(r.rolname::text, 'public')
FROM pg_proc p CROSS JOIN aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE p.pronamespace = 'public'::regnamespace AND p.proowner = current_user::regrole AND a.grantee <> p.proowner
UNION ALL
SELECT 'SCHEMA', n.nspname::text, a.privilege_type, '', coalesce(r.rolname::text, 'public')
FROM pg_namespace n CROSS JOIN aclexplode(n.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE n.nspname = 'public' AND a.grantee <> n.nspowner
"""
OURS = """
SELECT proname::text, oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND proowner = current_user::regrole
"""
TABLES = """
SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relowner = current_user::regrole
"""


class Right(NamedTuple):
    kind: str
    name: str
    """Of a function with the types of its arguments."""
    privilege: str
    column: str
    """Empty for all of a table."""
    role: str

    def statement(self, verb: str, preposition: str) -> str:
        # a function's name comes quoted where it has to be
        name = self.name if self.kind == "FUNCTION" else f'"{self.name}"'
        columns = f' ("{self.column}")' if self.column else ""
        role = "PUBLIC" if self.role == PUBLIC else f'"{self.role}"'
        return f"{verb} {self.privilege}{columns} ON {self.kind} {name} {preposition} {role}"


def apply_rights(connection: Connection, tables: Iterable[Table], functions: Iterable[DatabaseFunction]) -> None:
    """In the transaction of `connection`, whose role owns everything. Where all is as declared, nothing is written.

    Rights of roles that are not ours are an operator's, and stay. A table that does not exist yet is passed over.
    """
    connection.execute(text(NO_FUNCTIONS_FOR_ALL))
    declared = set(_declared(connection, tables, functions))
    for right in sorted(_actual(connection) - declared):
        connection.execute(text(right.statement("REVOKE", "FROM")))
    for right in sorted(declared - _actual(connection)):  # read again: revoking all of a table revokes its columns
        connection.execute(text(right.statement("GRANT", "TO")))


def _declared(
    connection: Connection, tables: Iterable[Table], functions: Iterable[DatabaseFunction]
) -> Iterator[Right]:
    there = {name for (name,) in connection.execute(text(TABLES))}
    for role in DatabaseRole:
        yield Right("SCHEMA", "public", "USAGE", "", role.value)
    for table in (one for one in tables if one.name in there):
        access = access_of(table)
        for role, rights in ((DatabaseRole.API, access.api), (DatabaseRole.WORKER, access.worker)):
            for privilege, columns in rights.items():
                for column in ("",) if columns is None else columns:
                    yield Right("TABLE", table.name, privilege.value, column, role.value)
    executors = {one.name: one.executors for one in functions}
    for name, signature in connection.execute(text(OURS)):
        for role in executors.get(name, ()):
            yield Right("FUNCTION", signature, "EXECUTE", "", role.value)


def _actual(connection: Connection) -> set[Right]:
    """What our roles and everybody have. That everybody may name what is in the schema is PostgreSQL's default, and stays."""
    found = {Right(*row) for row in connection.execute(text(ACTUAL))}
    ours = {PUBLIC, *DatabaseRole}
    return {right for right in found if right.role in ours} - {Right("SCHEMA", "public", "USAGE", "", PUBLIC)}
