"""Rows of several tables, and the events that tell of them, in one statement: a command's writes cost one round trip."""

from collections.abc import Sequence
from functools import cache
from uuid import UUID

from sqlalchemy import CTE, Select, Table, bindparam, insert
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories import events
from models.repositories.events import NewEvent

Shape = tuple[Table, tuple[str, ...]]
"""A table, and the columns that a row fills."""


async def insert_and_announce(
    session: AsyncSession, organization_id: UUID, rows: Sequence[SQLModel], new_events: Sequence[NewEvent]
) -> None:
    """Insert new rows, which stay outside the session and may refer to each other in any order, and append the events.

    Where a row says None, the column gets its default in the database. Streams of one resource stay locked until this transaction
    ends: write everything else first.
    """
    shapes: list[Shape] = []
    values = events.values_of(organization_id, new_events)
    for place, row in enumerate(rows):
        table: Table = type(row).__table__  # type: ignore[attr-defined]
        filled = {column.name: value for column in table.columns if (value := getattr(row, column.name)) is not None}
        shapes.append((table, tuple(filled)))
        values |= {_name(place, name): value for name, value in filled.items()}
    await session.execute(_statement(tuple(shapes)), values)


@cache
def _statement(shapes: tuple[Shape, ...]) -> Select[int]:
    """The inserts as common table expressions, each of which PostgreSQL runs once; it checks references when all are done.

    Kept, because composing the statement costs more than running it.
    """
    return events.APPEND_ALL.add_cte(*(_insert(place, *shape) for place, shape in enumerate(shapes)))


def _insert(place: int, table: Table, filled: tuple[str, ...]) -> CTE:
    values = {name: bindparam(_name(place, name), type_=table.columns[name].type) for name in filled}
    return insert(table).values(values).cte(f"inserted_{place}")


def _name(place: int, column: str) -> str:
    return f"{column}_{place}"
