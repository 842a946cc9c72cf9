"""Transactions: one engine per purpose, one tenant per transaction, a share of the connections per family.

`tenant()` is how rows of an organization are read and written; `read()` is the short way for pages that people look at;
`system()` sees the installation's tables and may call the SECURITY DEFINER functions, nothing else. Nobody outside this module
commits.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field
from traceback import clear_frames
from typing import Any, cast
from uuid import UUID

import orjson
import psycopg
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.ext.asyncio import AsyncSession as PlainAsyncSession
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import DATABASE_BUSY, DATABASE_UNAVAILABLE, ServiceUnavailable
from models.repositories import transaction_time
from models.repositories.identity.session_limits import UNLIMITED, SessionLimits
from models.repositories.shares import Shares, Whose
from models.repositories.urls import driver_url

READ_AS = "SELECT set_config('app.organization_id', %s, true), set_config('app.user_id', %s, true)"
SET_TENANT = text(READ_AS % (":organization_id", ":user_id") + ", now()")
PLAN_ONCE = "-c plan_cache_mode=force_generic_plan"
"""A statement that was prepared is planned once per connection, not again for its values: to plan the joins of an instance takes
some 5 ms, to run them one, and row-level security hides from the planner whose rows it counts in any case.
"""

POOL_WAIT_S = 5.0
CONNECT_TIMEOUT_S = 5
DOWN_RETRY_AFTER_S = 2.0
BUSY_RETRY_AFTER_S = 2.0
BUSY_STATES = frozenset({"55P03", "57014", "40P01", "40001"})
"""Answers of a database that is there and could not do it now: a lock that took too long, a statement that was cancelled or took
too long, a deadlock, a serialization failure (PostgreSQL, "Error Codes").
"""


@dataclass(frozen=True)
class Query:
    """A statement of constants, with `%(name)s` where its values belong."""

    statement: str
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Answered:
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class _Session(AsyncSession):
    """SQLModel's session, which deprecates `execute` in favour of `exec`; calling a function in SQL is no select of a model."""

    execute = PlainAsyncSession.execute


class Database:
    """The connection pool of this process. Raises ServiceUnavailable from every transaction while PostgreSQL is away, and from
    one that exceeded its `limits` or was cancelled.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        application_name: str = "quarterdeck",
        limits: SessionLimits = UNLIMITED,
        spared: int = 0,
    ) -> None:
        """`spared` connections are never in transactions of one and the same organization."""
        self._pool_size = pool_size
        self.family: str | None = None  # of whose share its transactions are
        self._of_families: dict[str, Database] = {}
        self._shares = Shares(pool_size, POOL_WAIT_S, database_busy, spared=spared)
        self._shares_of_readers = Shares(pool_size, POOL_WAIT_S, database_busy)
        self._columns: dict[str, tuple[str, ...]] = {}
        self._engine = _engine(url, pool_size, application_name, limits)
        self._readers = _engine(url, pool_size, application_name, limits, isolation_level="AUTOCOMMIT")

    def of_family(self, family: str) -> "Database":
        """The same connections, of which the family's transactions have a share (`Shares`): what hangs in its tables leaves some
        to every other family. Raises ServiceUnavailable from a transaction that waited too long for a place.
        """
        view = self._of_families.get(family)
        if view is None:
            view = self._of_families[family] = copy(self)
            view.family = family
        return view

    @property
    def transactions_under_way(self) -> int:
        """Of every family, those that wait for a connection included."""
        return self._shares.users + self._shares_of_readers.users

    @asynccontextmanager
    async def tenant(self, organization_id: UUID, user_id: UUID | None = None) -> AsyncIterator[AsyncSession]:
        """One transaction in which only this organization's rows exist; committed at the end, rolled back by an exception."""
        async with self._transaction(organization_id) as session:
            tenant = {"organization_id": str(organization_id), "user_id": str(user_id) if user_id else ""}
            _organization, _user, now = (await session.execute(SET_TENANT, tenant)).one()
            transaction_time.note(session, now)
            yield session

    @asynccontextmanager
    async def system(self) -> AsyncIterator[AsyncSession]:
        """One transaction without a tenant: no tenant's row is visible in it."""
        async with self._transaction() as session:
            yield session

    async def read(self, organization_id: UUID, user_id: UUID, queries: Sequence[Query]) -> list[Answered]:
        """The queries' answers, in order: one transaction of this organization, sent and answered in one round trip.

        What a pipeline sends without BEGIN is one transaction up to its end (libpq, "Pipeline Mode"), and the tenant is gone with
        it. A connection that died in the pool is replaced and the transaction done again, for it wrote nothing.
        """
        for _ in range(self._pool_size + 1):
            try:
                return await self._read(organization_id, user_id, queries)
            except _ConnectionLost:
                continue
        raise _away()

    async def _read(self, organization_id: UUID, user_id: UUID, queries: Sequence[Query]) -> list[Answered]:
        try:
            async with self._shares_of_readers.one(Whose(self.family)), self._readers.connect() as connection:
                raw = cast("psycopg.AsyncConnection", (await connection.get_raw_connection()).driver_connection)
                try:
                    async with raw.pipeline():
                        await raw.execute(READ_AS, (str(organization_id), str(user_id)))
                        # binary: to write and read the moments of 200 rows as text takes as long as to find the rows
                        cursors = [await raw.execute(query.statement, query.values, binary=True) for query in queries]
                        fetched = [await cursor.fetchall() for cursor in cursors]
                except psycopg.Error as error:
                    if not raw.closed:
                        raise
                    await connection.invalidate()
                    raise _ConnectionLost from error
                except asyncio.CancelledError:
                    await connection.invalidate()  # answers that nobody fetched are still on their way
                    raise
                return [
                    Answered(self._columns_of(query, cursor), rows)
                    for query, cursor, rows in zip(queries, cursors, fetched, strict=True)
                ]
        except (OperationalError, InterfaceError, PoolTimeout, psycopg.OperationalError) as error:
            raise _unavailable(error) from error

    def _columns_of(self, query: Query, cursor: psycopg.AsyncCursor[Any]) -> tuple[str, ...]:
        """Statements are constants: what each answers with is asked of the driver once. It takes longer than a small answer."""
        known = self._columns.get(query.statement)
        if known is None:
            known = self._columns[query.statement] = tuple(column.name for column in cursor.description or ())
        return known

    async def close(self) -> None:
        await self._engine.dispose()
        await self._readers.dispose()

    @asynccontextmanager
    async def _transaction(self, organization_id: UUID | None = None) -> AsyncIterator[AsyncSession]:
        try:
            async with (
                self._shares.one(Whose(self.family, organization_id)),
                _Session(self._engine, expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            raise _unavailable(error) from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise _unavailable(error) from error
            raise


def session_options(given: str | tuple[str, ...] = (), limits: SessionLimits = UNLIMITED) -> str:
    """How sessions are set up, for libpq's `options`: with limits, and as the URL says (`given`), which comes after them."""
    # whom the session becomes, for one: nothing of what is given is lost
    asked = (given,) if isinstance(given, str) else given
    return " ".join((*limits.options(), *asked, PLAN_ONCE)).strip()


def _engine(url: str, pool_size: int, application_name: str, limits: SessionLimits, **options: Any) -> AsyncEngine:
    address = make_url(driver_url(url))
    return create_async_engine(
        address,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        pool_pre_ping=False,
        json_deserializer=orjson.loads,
        hide_parameters=True,
        connect_args={
            "async_creator_fn": _connected,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": application_name,
            "options": session_options(address.query.get("options", ()), limits),
        },
        **options,
    )


async def _connected(*arguments: Any, **options: Any) -> psycopg.AsyncConnection[Any]:
    """A connection, or none: one whose caller is cancelled while it is made would live on in the frames of the exception, and
    hold a place at the server until PostgreSQL's `authentication_timeout`, which is a minute.
    """
    try:
        return await psycopg.AsyncConnection.connect(*arguments, **options)
    except BaseException as error:
        clear_frames(error.__traceback__)
        raise


class _ConnectionLost(Exception):
    """The server ended the connection."""


def _unavailable(error: Exception) -> ServiceUnavailable:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, psycopg.Error) or cause.sqlstate not in BUSY_STATES:
        return _away()
    return database_busy()


def database_busy() -> ServiceUnavailable:
    """What is asked for is there, and held by somebody else for too long."""
    return ServiceUnavailable(
        "the database is busy with what this needs; try again shortly",
        code=DATABASE_BUSY,
        retry_after_s=BUSY_RETRY_AFTER_S,
    )


def _away() -> ServiceUnavailable:
    return ServiceUnavailable(
        "the database is not reachable; try again shortly",
        code=DATABASE_UNAVAILABLE,
        retry_after_s=DOWN_RETRY_AFTER_S,
    )
