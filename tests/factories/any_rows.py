"""A row for any table, made from nothing but its columns: what a table added tomorrow is tested with."""

from __future__ import annotations

import secrets
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg import Connection, sql
from psycopg.types.json import Jsonb
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Enum, Float, Integer, Numeric, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from models.base.clock import utc_now
from models.base.ids import new_id
from models.tables import TABLES, metadata
from models.tables.columns import Word

TENANT_COLUMN = "organization_id"


def tenant_tables() -> list[str]:
    """Every table whose rows belong to an organization."""
    return sorted(table.name for table in TABLES if TENANT_COLUMN in table.columns)


def insert_any(connection: Connection[Any], name: str, organization_id: UUID) -> None:
    """Insert a row of this organization. It refers to nothing that exists: the connection must not check references."""
    values = values_for(metadata.tables[name], organization_id)
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(name),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join([sql.Placeholder()] * len(values)),
    )
    connection.execute(statement, list(values.values()))


def values_for(table: Table, organization_id: UUID) -> dict[str, object]:
    """What must be given: the columns that may not be null, except those that the database computes."""
    given = {
        column.name: value_for(column) for column in table.columns if not column.nullable and column.computed is None
    }
    return {**given, TENANT_COLUMN: organization_id}


def value_for(column: Column[Any]) -> object:
    match column.type:
        case Enum() as kind:
            return kind.enums[0]
        case Word() as kind:
            return kind.words[0]
        case Uuid():
            return new_id()
        case Boolean():
            return False
        case BigInteger() | Integer():
            return secrets.randbelow(10**9) + 1
        case Float() | Numeric():
            return Decimal(1)
        case JSONB():
            return Jsonb({})
        case DateTime():
            return utc_now()
        case Text():
            return secrets.token_hex(32)  # as long as a hash: some columns take nothing else
    raise NotImplementedError(f"{column} has a type for which there is no value yet: add one")
