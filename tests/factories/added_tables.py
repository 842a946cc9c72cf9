"""Tables that no migration knows, in a database that is migrated: those of a family that lives in the tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from sqlalchemy import Table

from models.migrations.functions import read_functions
from models.migrations.settling import settle
from models.tables import TABLES
from tests.factories.owning import owning
from tests.servers import TestDatabase


def add_tables(
    database: TestDatabase,
    *tables: Table,
    functions: Path | None = None,
    words: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """With the policies and rights that they declare, the functions of a folder, and words for open enumerations, by the name of
    their CHECK (`operationkind`). Another `migrate` of this database would take the functions and rights away again.
    """
    files = [*read_functions(), *(() if functions is None else read_functions(functions))]
    with owning(database) as connection:
        for table in tables:
            table.create(connection)
        settle(connection, tables=[*TABLES, *tables], functions=files, added_words=words)
