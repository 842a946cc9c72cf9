"""The words of text columns that hold an enumeration: the CHECK of each allows what code knows, and what it allowed before.

A word that code adds needs no migration. One that code no longer has stays allowed until a migration takes it away: there may be
rows that have it, and a process of the version before may write more (docs/decisions/0075-tables-of-an-organization.md).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, Enum, Table, text

from models.tables.columns import Word

_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_CHECKS = text("""
SELECT c.relname::text, k.conname::text, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'c' AND c.relnamespace = 'public'::regnamespace
    AND c.relowner = current_user::regrole AND NOT c.relispartition
""")


class Enumeration(NamedTuple):
    table: str
    column: str
    constraint: str
    words: frozenset[str]


def enumerations_of(tables: Iterable[Table], added: Mapping[str, Iterable[str]] | None = None) -> Iterator[Enumeration]:
    """Of every column that holds one. `added` has what families add to the open ones, by the constraint's name."""
    for table in tables:
        for column in table.columns:
            if isinstance(column.type, Enum):
                yield Enumeration(table.name, column.name, str(column.type.name), frozenset(column.type.enums))
            elif isinstance(column.type, Word):
                name = column.type.constraint
                more = () if added is None else added.get(name, ())
                yield Enumeration(table.name, column.name, name, frozenset({*column.type.words, *more}))


def read_words(connection: Connection) -> dict[tuple[str, str], frozenset[str]]:
    """By table and constraint, the words that a CHECK names."""
    return {
        (table, constraint): frozenset(word.replace("''", "'") for word in _LITERAL.findall(definition))
        for table, constraint, definition in connection.execute(_CHECKS)
    }


def apply_enumerations(connection: Connection, wanted: Iterable[Enumeration]) -> None:
    """In the transaction of `connection`, whose role owns everything. Where every word is allowed, nothing is written.

    A CHECK that gains a word is made again without looking at the rows, which it allowed already: the table is locked for as long
    as that takes, however large it is. A table or a CHECK that does not exist yet is its migration's.
    """
    there = read_words(connection)
    for one in wanted:
        known = there.get((one.table, one.constraint))
        if known is None or one.words <= known:
            continue
        words = ", ".join("'{}'".format(word.replace("'", "''")) for word in sorted(known | one.words))
        connection.exec_driver_sql(
            f'ALTER TABLE "{one.table}" DROP CONSTRAINT "{one.constraint}", '
            f'ADD CONSTRAINT "{one.constraint}" CHECK ("{one.column}" IN ({words})) NOT VALID',
            execution_options={"no_parameters": True},
        )
