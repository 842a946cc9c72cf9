"""Whose rows a table has, and what API and worker may do to them: said where the table is, made by `migrate`.

Rights are the second half of a wall whose first half are the policies: row-level security says which rows, rights say what may be
done to them at all. A worker writes what its owners project and nothing of who may sign in; the API writes what it is asked for
and nothing of what owners alone know. Columns are named where a role changes some of them only. What no table says, `migrate`
takes away (docs/decisions/0041-rights-in-the-database.md, 0075-tables-of-an-organization.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Table


class Privilege(StrEnum):
    SELECT = "SELECT"
    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


Columns = tuple[str, ...] | None
ALL: Columns = None
"""Of the table, those of later migrations included."""

SELECT, INSERT, UPDATE, DELETE = Privilege

Rights = Mapping[Privilege, Columns]
NONE: Rights = {}
READ: Rights = {SELECT: ALL}
APPEND: Rights = {INSERT: ALL}
READ_AND_APPEND: Rights = {SELECT: ALL, INSERT: ALL}

TENANT_COLUMN = "organization_id"
_KEY = "access"


@dataclass(frozen=True)
class Access:
    """Of one table."""

    is_tenant: bool
    """Its rows belong to organizations: it is forced under row-level security, with the policies that every such table has."""
    is_searched: bool
    api: Rights
    worker: Rights


def tenant_table(
    *parts: Any, api: Rights = NONE, worker: Rights = NONE, is_searched: bool = True, **options: Any
) -> Any:
    """`__table_args__` of a table with an `organization_id`: API and worker see in it what belongs to their organization.

    `is_searched` promises an index that begins with the organization. Without one nothing may ask for what an organization has:
    a table that is written often and read by other keys.
    """
    return *parts, {"info": {_KEY: Access(is_tenant=True, is_searched=is_searched, api=api, worker=worker)}, **options}


def shared_table(*parts: Any, api: Rights = NONE, worker: Rights = NONE, **options: Any) -> Any:
    """`__table_args__` of a table of the installation, and of those two whose rows are the tenants themselves."""
    return *parts, {"info": {_KEY: Access(is_tenant=False, is_searched=False, api=api, worker=worker)}, **options}


def access_of(table: Table) -> Access:
    """Raises LookupError: the table says nothing of it."""
    access: Access | None = table.info.get(_KEY)
    if access is None:
        raise LookupError(f"{table.name} is to be made by tenant_table() or shared_table()")
    if access.is_tenant != (TENANT_COLUMN in table.columns):
        raise LookupError(f"{table.name}: a tenant's table has the column {TENANT_COLUMN}, and no other has it")
    return access
