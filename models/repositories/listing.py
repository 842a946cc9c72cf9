"""Lists that people read, each from one description: what a row shows and where it is found, what narrows and what sorts rows.

A row's fields are declared once, with their type and their SQL: the statement, the schema of the answer and its values follow.
Values arrive in the form in which they are shown, so that they go into JSON as they are: to build 200 rows of Python objects only
to write them out again took longer than to find them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Annotated, Any, Generic, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from models.domain.identity.principal import Principal
from models.repositories.database import Answered, Database, Query

Sources = TypeVar("Sources", bound=NamedTuple)

_ALIAS = re.compile(r"\b([a-z]+)\.")
_FORMS: Mapping[type, str] = {UUID: "::text", Decimal: "::float8"}
"""What is shown in another form than PostgreSQL's own. An amount was rounded to its places where it was computed."""


class ShownRow(BaseModel):
    """The fields of a row that are shown as the database has them, each `Annotated[type, Sql(...)]`."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True, slots=True)
class Sql:
    """Where a field is found: an expression over the list's table and its joins."""

    expression: str


@dataclass(frozen=True, slots=True)
class Join:
    clause: str
    after: str | None = None
    """The alias of a join that this one refers to."""
    to_sort: str | None = None
    """The same, quicker where it is asked of every row, as a sort does."""


@dataclass(frozen=True, slots=True)
class Sort:
    """Rows that lack a nullable one come last; the others are not told so, or an index would not serve them."""

    by: str
    is_nullable: bool = False

    def clause(self, direction: str, key: str) -> str:
        return f"{self.by} {direction} {'NULLS LAST' if self.is_nullable else ''}, {key} {direction}"


@dataclass(frozen=True)
class Wanted:
    """A page. A filter that is None narrows nothing; `limit` None is all rows."""

    filters: Mapping[str, object] = field(default_factory=dict)
    sort_by: str = ""
    descending: bool = True
    offset: int = 0
    limit: int | None = 200


class Listed(NamedTuple, Generic[Sources]):
    """One row: `shown` has the fields of the `ShownRow`, to be completed by what is made of `sources`."""

    shown: dict[str, Any]
    sources: Sources


@dataclass(frozen=True)
class Page(Generic[Sources]):
    """`total_count` is of all rows of the organization, `filtered_count` of those that the filters leave."""

    rows: list[Listed[Sources]]
    total_count: int
    filtered_count: int


@dataclass(frozen=True, eq=False)
class Listing(Generic[Sources]):
    """A list. Raises ValueError where an expression refers to what is not joined."""

    table: str
    """With its alias. Its key is the column `id`."""
    shown: type[ShownRow]
    sources: type[Sources]
    """Columns that are not shown, and that something shown is made of."""
    joins: dict[str, Join] = field(default_factory=dict)
    """Alias -> join, in order. Each finds one row at most: it narrows nothing and doubles nothing."""
    filters: Mapping[str, str] = field(default_factory=dict)
    """Name -> condition on the table alone, over the value `%(name)s`."""
    sorts: Mapping[str, Sort] = field(default_factory=dict)
    """Sort key of the API -> what it sorts by. The first is what any other key sorts by (contract decision 20)."""

    def __post_init__(self) -> None:
        known = {self._alias, *self.joins}
        for expression in [*columns(self.shown), *columns(self.sources), *(sort.by for sort in self.sorts.values())]:
            outside = re.sub(r"\(SELECT.*\)", "", expression, flags=re.DOTALL)
            if unknown := set(_ALIAS.findall(outside)) - known:
                raise ValueError(f"{expression} refers to {sorted(unknown)}, which is not joined")

    async def one(self, database: Database, reader: Principal, row_id: UUID, *more: Query) -> "One[Sources]":
        """The row, None where there is none (another organization's is none), with the answers of what is asked in the same round
        trip.
        """
        found, *others = await database.read(
            reader.organization_id, reader.user_id, [Query(_by_id(self), {"id": row_id}), *more]
        )
        rows = self._rows(found)
        return One(rows[0] if rows else None, others)

    async def page(self, database: Database, reader: Principal, wanted: Wanted) -> Page[Sources]:
        """One page, and how many rows there are before and after the filters."""
        given = {name: value for name, value in wanted.filters.items() if value is not None}
        sort_by = wanted.sort_by if wanted.sort_by in self.sorts else next(iter(self.sorts))
        counts, page = _search(self, sort_by, tuple(sorted(given)), wanted.descending)
        values = {**given, "limit": wanted.limit, "offset": wanted.offset}
        counted, found = await database.read(
            reader.organization_id, reader.user_id, [Query(counts, values), Query(page, values)]
        )
        total, filtered = counted.rows[0]
        return Page(self._rows(found), total, filtered)

    def statements(self, sort_by: str, filters: tuple[str, ...], *, descending: bool) -> tuple[str, str]:
        """The statements that count and that fetch a page."""
        where = " AND ".join(self.filters[name] for name in filters) or "true"
        table, key = self.table, f"{self._alias}.id"
        sort = self.sorts[sort_by]
        counts = f"SELECT count(*), count(*) FILTER (WHERE {where}) FROM {table}"  # noqa: S608 (constants)
        # first which rows, then all about those, so that one plan of the many joins fits every page
        page = f"""
            SELECT {self.columns} FROM unnest(ARRAY(
                SELECT {key} FROM {table} {self._joined(sort.by, to_sort=True)} WHERE {where}
                ORDER BY {sort.clause("DESC" if descending else "ASC", key)} LIMIT %(limit)s OFFSET %(offset)s
            )) WITH ORDINALITY AS listed (id, place)
            JOIN {table} ON {key} = listed.id {self._joined(self.columns)}
            ORDER BY listed.place
        """  # noqa: S608 (constants)
        return counts, page

    @property
    def by_id(self) -> str:
        """The statement that fetches the row `%(id)s`."""
        return f"SELECT {self.columns} FROM {self.table} {self._joined(self.columns)} WHERE {self._alias}.id = %(id)s"  # noqa: S608

    @property
    def columns(self) -> str:
        """Of the row, in order: what is shown, then what is not."""
        return ", ".join([*columns(self.shown), *columns(self.sources)])

    @property
    def _alias(self) -> str:
        return self.table.split()[-1]

    def _joined(self, expressions: str, *, to_sort: bool = False) -> str:
        """The joins that these expressions need, and those that they need in turn."""
        needed = set(_ALIAS.findall(expressions)) & self.joins.keys()
        for alias, join in reversed(self.joins.items()):
            if alias in needed and join.after is not None:
                needed.add(join.after)
        joins = [join for alias, join in self.joins.items() if alias in needed]
        return " ".join(join.to_sort if to_sort and join.to_sort else join.clause for join in joins)

    def _rows(self, answered: Answered) -> list[Listed[Sources]]:
        names, made_of = _names(self.shown), self.sources._make
        length = len(names)
        return [Listed(dict(zip(names, row, strict=False)), made_of(row[length:])) for row in answered.rows]


@dataclass(frozen=True)
class One(Generic[Sources]):
    row: Listed[Sources] | None
    others: list[Answered]


def columns(rows: type[Any]) -> list[str]:
    """What a SELECT of these rows names, in the order of their fields."""
    return [f"{_shown(kind)} AS {name}" for name, kind in _fields(rows).items()]


def values(rows: type[ShownRow], answered: Answered) -> list[dict[str, Any]]:
    """Of an answer to a SELECT of `columns(rows)`."""
    return [dict(zip(_names(rows), row, strict=True)) for row in answered.rows]


def _fields(rows: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(rows, include_extras=True)
    return {name: hint for name, hint in hints.items() if _sql(hint) is not None}


@cache
def _names(rows: type[Any]) -> tuple[str, ...]:
    return tuple(_fields(rows))


def _sql(hint: Any) -> str | None:
    """`Annotated` within `Annotated` is one of both; around a union it is left."""
    if get_origin(hint) is not Annotated:
        return None
    return next((note.expression for note in hint.__metadata__ if isinstance(note, Sql)), None)


def value_type(hint: Any) -> Any:
    """What the values of a field are, whatever is said beside, and whether or not they may be None."""
    if get_origin(hint) is Annotated:
        return value_type(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        [only] = [one for one in get_args(hint) if one is not type(None)]
        return value_type(only)
    return hint


def _shown(hint: Any) -> str:
    return f"{_sql(hint)}{_FORMS.get(value_type(hint), '')}"


@cache
def _by_id(listing: Listing[Any]) -> str:
    return listing.by_id


@cache
def _search(listing: Listing[Any], sort_by: str, filters: tuple[str, ...], is_descending: bool) -> tuple[str, str]:  # noqa: FBT001 (a cache's key)
    return listing.statements(sort_by, filters, descending=is_descending)
