"""Column types that every table shares."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Numeric,
    String,
    Text,
    func,
)
from sqlalchemy import text as sql_text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field

from models.base.ids import new_id

WORD_LENGTH = 40
"""Of the longest word that an enumeration may have, in characters."""


def primary_key() -> Any:
    return Field(default_factory=new_id, sa_column=Column(postgresql.UUID(as_uuid=True), primary_key=True))


def reference(target: str, *, nullable: bool = False, index: bool = True, primary: bool = False) -> Any:
    """A foreign key. Deleting what is referred to is refused by the database: ledgers and audit outlive nothing."""
    column: Column[UUID] = Column(
        postgresql.UUID(as_uuid=True),
        ForeignKey(target),
        nullable=nullable,
        index=index and not primary,
        primary_key=primary,
    )
    return Field(default=None, sa_column=column) if nullable else Field(sa_column=column)


def identifier(*, nullable: bool = False) -> Any:
    """Of a row in one of several tables: which, is said beside it."""
    column: Column[UUID] = Column(postgresql.UUID(as_uuid=True), nullable=nullable)
    return Field(default=None, sa_column=column) if nullable else Field(sa_column=column)


def enumeration(
    kind: type[StrEnum], *, nullable: bool = False, default: StrEnum | None = None, constraint: str | None = None
) -> Any:
    """A text column with a CHECK on the enum's values: readable in SQL, and no typo gets in.

    `constraint` names the CHECK where a table has two columns of one enum, and where it was made under another name.
    """
    column_type = Enum(
        kind,
        native_enum=False,
        create_constraint=True,
        length=WORD_LENGTH,
        values_callable=lambda members: [member.value for member in members],
        name=constraint or kind.__name__.lower(),
    )
    column: Column[StrEnum] = Column(column_type, nullable=nullable)
    if default is not None or nullable:
        return Field(default=default, sa_column=column)
    return Field(sa_column=column)


class Word(TypeDecorator[str]):
    """A word of an enumeration that families add to. What is read is the member where this enumeration has it, else the text:
    that of another family, or of a version to come.
    """

    impl = String(WORD_LENGTH)
    cache_ok = True

    def __init__(self, known: type[StrEnum]) -> None:
        super().__init__()
        self.known = known

    @property
    def words(self) -> list[str]:
        return [member.value for member in self.known]

    @property
    def constraint(self) -> str:
        return self.known.__name__.lower()

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        del dialect
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        del dialect
        return self.known(value) if value in self.words else value


def open_enumeration(kind: type[StrEnum], *, column: str, nullable: bool = False) -> Any:
    """Like `enumeration`, for a column of this name: `migrate` adds the words that families bring."""
    word = Word(kind)
    values = ", ".join(f"'{value}'" for value in word.words)
    made: Column[str] = Column(
        word, CheckConstraint(f"{column} IN ({values})", name=word.constraint), nullable=nullable
    )
    return Field(default=None, sa_column=made) if nullable else Field(sa_column=made)


def moment(*, nullable: bool = False, default_now: bool = False, index: bool = False) -> Any:
    column: Column[datetime] = Column(
        DateTime(timezone=True), nullable=nullable, index=index, server_default=func.now() if default_now else None
    )
    return Field(default=None, sa_column=column) if nullable or default_now else Field(sa_column=column)


def _empty_list() -> list[
    Any
]:  # pydantic looks at a factory's signature for every new row; those of `list` and `dict` it
    return []  # has to parse from their documentation, which takes longer than the rest of the row


def _empty_object() -> dict[str, Any]:
    return {}


def document(*, nullable: bool = False) -> Any:
    if nullable:
        return Field(default=None, sa_column=Column(JSONB, nullable=True))
    return Field(default_factory=_empty_object, sa_column=Column(JSONB, nullable=False))


def document_list(*, default_empty: bool = False) -> Any:
    """`default_empty` is for a process of before, which does not know the column."""
    default = sql_text("'[]'::jsonb") if default_empty else None
    return Field(default_factory=_empty_list, sa_column=Column(JSONB, nullable=False, server_default=default))


def big_integer() -> Any:
    return Field(default=0, sa_column=Column(BigInteger, nullable=False))


def key_text() -> Any:
    return Field(sa_column=Column(Text, primary_key=True))


def text(*, nullable: bool = False, unique: bool = False, index: bool = False) -> Any:
    if nullable:
        return Field(default=None, sa_column=Column(Text, nullable=True, unique=unique, index=index))
    return Field(sa_column=Column(Text, nullable=False, unique=unique, index=index))


def price(*, nullable: bool = False) -> Any:
    """EUR per hour or an amount in EUR, six places."""
    if nullable:
        return Field(default=None, sa_column=Column(Numeric(18, 6), nullable=True))
    return Field(sa_column=Column(Numeric(18, 6), nullable=False))
