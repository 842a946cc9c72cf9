"""Every list that people read is what its description says: types as PostgreSQL has them, every order and filter, one row for each."""

import importlib
import pkgutil
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, get_origin, get_type_hints
from uuid import UUID

import psycopg
import pytest
from pydantic import AwareDatetime

from models import repositories
from models.repositories.fleet.instances import listing as instance_listing
from models.repositories.listing import Join, Listing, ShownRow, Sort, Sql, value_type
from tests.servers import TestDatabase

TYPES: dict[type, set[str]] = {
    UUID: {"text"},
    Decimal: {"float8"},
    datetime: {"timestamptz"},
    AwareDatetime: {"timestamptz"},
    str: {"text", "varchar"},
    bool: {"bool"},
    int: {"int2", "int4", "int8"},
    float: {"float4", "float8"},
}
"""What the values of a field may be in PostgreSQL to be in JSON what the schema says."""


def listings() -> dict[str, Listing[Any]]:
    found = {}
    for module in pkgutil.walk_packages(repositories.__path__, f"{repositories.__name__}."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Listing):
                found[f"{module.name}.{name}"] = value
    return found


def columns_of(connection: psycopg.Connection[Any], statement: str, values: dict[str, object]) -> dict[str, str]:
    cursor = connection.execute(statement.encode(), values)
    assert cursor.description is not None
    types = connection.adapters.types
    found = {}
    for column in cursor.description:
        known = types.get(column.type_code)
        assert known is not None, column
        found[column.name] = f"{known.name}[]" if known.array_oid == column.type_code else known.name
    return found


def expected(kind: Any) -> set[str]:
    value = value_type(kind)
    if get_origin(value) is list:
        return {f"{one}[]" for one in expected(*value.__args__)}
    return TYPES[str if issubclass(value, StrEnum) else value]


@pytest.mark.parametrize("name", listings())
def test_its_types_are_those_of_the_database(name: str, database: TestDatabase) -> None:
    listing = listings()[name]
    with psycopg.connect(database.admin) as connection:
        found = columns_of(connection, listing.by_id, {"id": None})
    hints = get_type_hints(listing.shown, include_extras=True) | get_type_hints(listing.sources, include_extras=True)
    assert found.keys() == hints.keys()
    assert {column: kind for column, kind in found.items() if kind not in expected(hints[column])} == {}


@pytest.mark.parametrize("name", listings())
def test_every_order_and_filter_is_a_statement(name: str, database: TestDatabase) -> None:
    listing = listings()[name]
    every = tuple(listing.filters)
    values = {**dict.fromkeys(every), "limit": 1, "offset": 0}
    with psycopg.connect(database.admin) as connection:
        for sort_by in listing.sorts:
            for filters in ((), *((one,) for one in every), every):
                for statement in listing.statements(sort_by, filters, descending=sort_by != "created_at"):
                    connection.execute(statement.encode(), values)


def test_volumes_have_the_types_of_the_database(database: TestDatabase) -> None:
    with psycopg.connect(database.admin) as connection:
        found = columns_of(connection, instance_listing._VOLUMES, {"id": None})
    hints = get_type_hints(instance_listing.StorageRow, include_extras=True)
    assert found.keys() == hints.keys()
    assert {column: kind for column, kind in found.items() if kind not in expected(hints[column])} == {}


class Sources(NamedTuple):
    told: Annotated[str, Sql("a.told")]


class Shown(ShownRow):
    id: Annotated[UUID, Sql("c.id")]


def test_what_is_not_joined_is_refused_when_it_is_described() -> None:
    joins = {"a": Join("JOIN a ON a.id = b.id", after="b"), "b": Join("JOIN b ON b.id = c.id")}
    with pytest.raises(ValueError, match=r"a\.told"):
        Listing("c", Shown, Sources, sorts={"id": Sort("c.id")})
    with pytest.raises(ValueError, match=r"d\.x"):
        Listing("c", Shown, Sources, joins, sorts={"x": Sort("d.x")})
