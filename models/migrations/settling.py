"""What code declares and no migration writes, last in every run of `migrate`: functions, policies, enumerations, rights."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, Table

from models.migrations.enumerations import apply_enumerations, enumerations_of
from models.migrations.functions import DatabaseFunction, apply_functions, read_functions
from models.migrations.granting import apply_rights
from models.migrations.tenancy import apply_tenancy
from models.migrations.words import family_words
from models.tables import TABLES


def settle(
    connection: Connection,
    *,
    tables: Iterable[Table] | None = None,
    functions: Iterable[DatabaseFunction] | None = None,
    added_words: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """Make it so in the transaction of `connection`, whose role owns everything. Where it is so, nothing is written.

    Without `tables` and `functions`, those of this version; `added_words` come beside those of its families. The database is at
    the head of the migrations.
    """
    tables = list(TABLES if tables is None else tables)
    functions = list(read_functions() if functions is None else functions)
    apply_functions(connection, functions)
    apply_tenancy(connection, tables)
    words = {name: {*known, *(added_words or {}).get(name, ())} for name, known in family_words().items()}
    apply_enumerations(connection, enumerations_of(tables, words))
    apply_rights(connection, tables, functions)
