"""Columns of sealed values: nothing else gets into one, by its type here and by a CHECK in the database."""

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, Dialect, Text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

from models.domain.sealing import PATTERN, Cell, Sealed
from models.tables.access import TENANT_COLUMN


class SealedText(TypeDecorator[Sealed]):
    """Takes and gives `Sealed`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Sealed | None, dialect: Dialect) -> str | None:
        del dialect
        if value is not None and not isinstance(value, Sealed):
            raise TypeError("this column takes what was sealed, and nothing else")
        return None if value is None else value.text

    def process_result_value(self, value: str | None, dialect: Dialect) -> Sealed | None:
        del dialect
        return None if value is None else Sealed(value)


def sealed(column: str, *, nullable: bool = False) -> Any:
    """A column of this name, of a table with `id` and `organization_id`. `cell_of` says what its values are sealed for."""
    check = CheckConstraint(f"{column} ~ '{PATTERN}'", name=f"{column}_is_sealed")
    made: Column[Sealed] = Column(SealedText(), check, nullable=nullable)
    return Field(default=None, sa_column=made) if nullable else Field(sa_column=made)


def cell_of(row: SQLModel, column: str) -> Cell:
    """Where the row's value of this column lies. Raises LookupError: no sealed column has that name, or the row no id yet."""
    table = type(row).__table__  # type: ignore[attr-defined]  # which every class of a table has
    if column not in table.columns or not isinstance(table.columns[column].type, SealedText):
        raise LookupError(f"{table.name} has no sealed column {column}")
    organization_id, row_id = (getattr(row, name) for name in (TENANT_COLUMN, "id"))
    if isinstance(organization_id, UUID) and isinstance(row_id, UUID):
        return Cell(organization_id, table.name, column, row_id)
    raise LookupError(f"a row of {table.name} is sealed for its organization and its id")
