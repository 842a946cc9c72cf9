"""The policies of tenant tables: every table that `tenant_table()` made has them, and no others for roles of ours.

The owner role sees all, API and worker what belongs to `app.organization_id`, which a transaction sets as it begins; unset means
no rows (docs/decisions/0075-tables-of-an-organization.md).
"""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, Table, text

from models.settings.derived import OWNER_ROLE, DatabaseRole
from models.tables.access import TENANT_COLUMN, access_of

# As PostgreSQL shows it, which is how it is known again.
_OF_THE_TENANT = f"({TENANT_COLUMN} = ( SELECT current_organization() AS current_organization))"
_API_AND_WORKER = tuple(sorted(role.value for role in DatabaseRole))

_FORCED = text("""
SELECT c.relname::text, c.relrowsecurity AND c.relforcerowsecurity FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relowner = current_user::regrole
""")
_POLICIES = text("""
SELECT c.relname::text, p.polname::text, p.polcmd::text, p.polpermissive,
    ARRAY(SELECT r.rolname::text FROM pg_roles r WHERE r.oid = ANY (p.polroles) ORDER BY 1),
    pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = 'public'::regnamespace
""")


class Policy(NamedTuple):
    table: str
    name: str
    command: str
    """`*` for every command."""
    is_permissive: bool
    roles: tuple[str, ...]
    """None are all roles."""
    seen: str | None
    written: str | None


def policies_of(table: str) -> frozenset[Policy]:
    """Those of a tenant table."""
    return frozenset(
        {
            Policy(table, f"{table}_owner", "*", True, (OWNER_ROLE,), "true", "true"),  # noqa: FBT003 (a row of the catalogue)
            Policy(table, f"{table}_tenant", "*", True, _API_AND_WORKER, _OF_THE_TENANT, _OF_THE_TENANT),  # noqa: FBT003
        }
    )


def apply_tenancy(connection: Connection, tables: Iterable[Table]) -> None:
    """In the transaction of `connection`, whose role owns everything. Where all is as it should be, nothing is written.

    A policy for a role that is not ours is an operator's, and stays. A table that does not exist yet is passed over.
    """
    forced = {name: is_forced for name, is_forced in connection.execute(_FORCED)}  # noqa: C416 (rows are no pairs to mypy)
    found = read_policies(connection)
    for table in tables:
        if not access_of(table).is_tenant or table.name not in forced:
            continue
        if not forced[table.name]:
            connection.execute(text(f'ALTER TABLE "{table.name}" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY'))
        wanted = policies_of(table.name)
        there = {one for one in found if one.table == table.name and _concerns_us(one)}
        for policy in sorted(there - wanted, key=_by_name):
            connection.execute(text(f'DROP POLICY "{policy.name}" ON "{table.name}"'))
        for policy in sorted(wanted - there, key=_by_name):
            connection.execute(
                text(
                    f'CREATE POLICY "{policy.name}" ON "{table.name}" TO {", ".join(policy.roles)} '
                    f"USING ({policy.seen}) WITH CHECK ({policy.written})"
                )
            )


def read_policies(connection: Connection) -> set[Policy]:
    """Those of every table of the schema."""
    return {
        Policy(table, name, command, is_permissive, tuple(roles), seen, written)
        for table, name, command, is_permissive, roles, seen, written in connection.execute(_POLICIES)
    }


def _by_name(policy: Policy) -> str:
    return policy.name


def _concerns_us(policy: Policy) -> bool:
    return not policy.roles or not {OWNER_ROLE, *DatabaseRole}.isdisjoint(policy.roles)
