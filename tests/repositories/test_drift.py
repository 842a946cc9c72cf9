"""What the migrations made is what the tables say: both are made beside each other in one database, and PostgreSQL describes them."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql

from models.migrations.enumerations import enumerations_of, read_words
from models.tables import TABLES, metadata
from tests.factories.owning import owning
from tests.servers import TestDatabase

OURS = {table.name for table in TABLES}
OF_ENUMERATIONS = {(one.table, one.constraint) for one in enumerations_of(TABLES)}
"""Constraints whose words `migrate` adds: they are compared by their words."""
DECLARED = "declared"
"""The schema that is made from the tables."""

COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attgenerated
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""
INDEXES = """
SELECT t.relname, pg_get_indexdef(i.indexrelid)
FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
WHERE t.relnamespace = %(schema)s::regnamespace AND NOT t.relispartition
"""
CONSTRAINTS = """
SELECT t.relname, k.conname, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid
WHERE t.relnamespace = %(schema)s::regnamespace AND NOT t.relispartition AND k.contype NOT IN ('n', 't')
"""
PARTITIONED = "SELECT relname, pg_get_partkeydef(oid) FROM pg_class WHERE relnamespace = %(schema)s::regnamespace AND relkind = 'p'"


@pytest.fixture(scope="module")
def both(module_database: TestDatabase) -> TestDatabase:
    with owning(module_database) as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {DECLARED}")
        connection.execution_options(schema_translate_map={None: DECLARED})
        metadata.create_all(connection, tables=TABLES)
    return module_database


def described(connection: Connection[Any], question: str, schema: str) -> set[tuple[Any, ...]]:
    """Of the tables that code knows, with every name as it is seen from within the schema."""
    connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
    rows = connection.execute(question, {"schema": schema}).fetchall()
    told = [row for row in rows if row[0] in OURS and row[:2] not in OF_ENUMERATIONS]
    return {tuple(_unqualified(value, schema) for value in row) for row in told}


def _unqualified(value: Any, schema: str) -> Any:
    return value.replace(f" {schema}.", " ") if isinstance(value, str) else value


@pytest.mark.parametrize(
    "question", [COLUMNS, INDEXES, CONSTRAINTS, PARTITIONED], ids=["columns", "indexes", "constraints", "parts"]
)
def test_tables_are_what_code_says(both: TestDatabase, question: str) -> None:
    with psycopg.connect(both.admin) as connection:
        migrated, declared = (described(connection, question, schema) for schema in ("public", DECLARED))
    assert sorted(map(str, migrated - declared)) == [], "no table of ours says so"
    assert sorted(map(str, declared - migrated)) == [], "no migration made it"
    assert migrated


def test_no_table_is_there_that_code_does_not_know(both: TestDatabase) -> None:
    with psycopg.connect(both.admin) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
            "AND NOT relispartition"
        ).fetchall()
    assert {name for (name,) in rows} == OURS | {"alembic_version"}


def test_every_enumeration_allows_what_code_knows_and_no_more(both: TestDatabase) -> None:
    with owning(both) as connection:
        words = read_words(connection)
    enumerations = list(enumerations_of(TABLES))
    assert {(one.table, one.constraint): one.words for one in enumerations}.items() <= words.items()
    assert len(enumerations) > 20
