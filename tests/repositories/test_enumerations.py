"""Adding a word to an enumeration is no migration; and what SQL compares with is one of the words that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection, errors, sql
from sqlalchemy import Enum
from sqlmodel import col, select

from models.base.ids import new_id
from models.contracts.owner_kinds import OwnerKinds
from models.domain.fleet.operations import OperationKind
from models.migrations import upgrade
from models.migrations.words import family_words, owner_kinds
from models.tables import TABLES, metadata
from models.tables.columns import Word
from models.tables.operations import Operation
from tests.factories.added_tables import add_tables
from tests.factories.any_rows import values_for
from tests.factories.owning import owning
from tests.servers import TestDatabase

ROOT = Path(__file__).parents[2]
PRODUCT = ("activities", "api", "delivery", "models", "workers")

CHECKS = """
SELECT c.relname, k.conname, k.xmin::text, k.convalidated, c.relfilenode
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE k.contype = 'c' AND c.relnamespace = 'public'::regnamespace
ORDER BY 1, 2
"""


def checks(database: TestDatabase) -> list[tuple[Any, ...]]:
    """With the transaction that wrote each, and the file of its table: another one is a table that was written anew."""
    with psycopg.connect(database.admin) as connection:
        return connection.execute(CHECKS).fetchall()


def settled(database: TestDatabase, *words: str) -> None:
    add_tables(database, words={"operationkind": words})


def insert_operation(connection: Connection[Any], kind: str) -> None:
    connection.execute("SET LOCAL session_replication_role = replica")  # it refers to nothing that exists
    values = {**values_for(metadata.tables["operations"], new_id()), "kind": kind}
    columns = sql.SQL(", ").join(map(sql.Identifier, values))
    places = sql.SQL(", ").join([sql.Placeholder()] * len(values))
    statement = sql.SQL("INSERT INTO operations ({}) VALUES ({})").format(columns, places)
    connection.execute(statement, list(values.values()))


def test_a_familys_word_is_allowed_from_its_first_migrate_on(database: TestDatabase) -> None:
    with psycopg.connect(database.admin) as connection, pytest.raises(errors.CheckViolation):
        insert_operation(connection, "toy.wind_up")
    before = {(table, name): file for table, name, *_, file in checks(database)}
    settled(database, "toy.wind_up", "it's")
    with psycopg.connect(database.admin) as connection:
        for kind in ("toy.wind_up", "it's", "instance.provision"):
            insert_operation(connection, kind)
    with psycopg.connect(database.admin) as connection, pytest.raises(errors.CheckViolation):
        insert_operation(connection, "toy.other")
    assert {(table, name): file for table, name, *_, file in checks(database)} == before, "no table is written for it"


def test_a_process_that_does_not_know_a_word_reads_it_all_the_same(database: TestDatabase) -> None:
    settled(database, "toy.wind_up")
    with psycopg.connect(database.admin) as connection:
        insert_operation(connection, "toy.wind_up")
        insert_operation(connection, "instance.provision")
    with owning(database) as connection:
        kinds = connection.execute(select(col(Operation.kind)).order_by(col(Operation.kind))).scalars().all()
        asked = select(col(Operation.kind)).where(col(Operation.kind) == OperationKind.INSTANCE_PROVISION)
        assert connection.execute(asked).scalars().all() == [OperationKind.INSTANCE_PROVISION]
    assert kinds == ["instance.provision", "toy.wind_up"]
    assert kinds[0] is OperationKind.INSTANCE_PROVISION


def test_every_kind_of_operation_that_an_owner_has_is_allowed(database: TestDatabase) -> None:
    kinds = OwnerKinds(owner_kinds())
    assert {kind.resource_kind for kind in kinds} >= {"instance"}
    assert family_words()["operationkind"] == kinds.operations >= set(OperationKind)
    with psycopg.connect(database.admin) as connection:
        for kind in kinds.operations:
            insert_operation(connection, kind)


def test_a_word_stays_although_code_has_it_no_longer(database: TestDatabase) -> None:
    """A process of the version that had it may still write it, and there may be rows."""
    settled(database, "toy.wind_up")
    before = checks(database)
    upgrade(database.owner)
    settled(database, "toy.wind_up")
    assert checks(database) == before, "nothing is written where every word is allowed"


# What PostgreSQL would never find out: a word that no row can have matches none.
COMPARED = re.compile(
    r"\b(\w+)(?:::text)?\s*(?:=|<>|!=|(?:NOT )?IN|IS DISTINCT FROM)\s*(\((?:\s*'[^']*'\s*,?)+\)|'[^']*')", re.IGNORECASE
)


def words_of_columns() -> dict[str, set[str]]:
    """By a column's name the words of every enumeration that has it."""
    found: dict[str, set[str]] = {}
    for table in TABLES:
        for column in table.columns:
            if isinstance(column.type, Enum | Word):
                words = column.type.enums if isinstance(column.type, Enum) else column.type.words
                found.setdefault(column.name, set()).update(words)
    return {**found, "visible_status": found["status"]}


def sql_of_the_product() -> Iterator[tuple[str, str]]:
    for path in (ROOT / "models" / "sql").rglob("*.sql"):
        yield path.name, path.read_text()
    for path in (path for package in PRODUCT for path in (ROOT / package).rglob("*.py")):
        if path.parent.name != "versions":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def strangers(text: str, words: dict[str, set[str]]) -> list[str]:
    return [
        f"{column} {word}"
        for column, literals in COMPARED.findall(text)
        for word in re.findall(r"'([^']*)'", literals)
        if column in words and word not in words[column]
    ]


OF_FUNCTIONS = {"outcome"}
"""Columns of results that have the name of an enumeration of a table and words of their own."""


def test_what_sql_compares_with_is_a_word_that_there_is() -> None:
    words = {name: known for name, known in words_of_columns().items() if name not in OF_FUNCTIONS}
    compared = [
        (where, match) for where, text in sql_of_the_product() for match in COMPARED.findall(text) if match[0] in words
    ]
    found = [(where, stranger) for where, text in sql_of_the_product() for stranger in strangers(text, words)]
    assert found == []
    assert len(compared) > 15


@pytest.mark.parametrize(
    "text",
    [
        "WHERE i.status = 'raedy'",
        "status NOT IN ('terminated', 'archvied')",
        "i.status::text <> 'gone'",
        "(OLD.status IS DISTINCT FROM 'gone')",
    ],
)
def test_a_misspelt_word_is_found(text: str) -> None:
    assert len(strangers(text, words_of_columns())) == 1
