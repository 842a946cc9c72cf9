"""Transactions of one statement: whose rows they see, and what becomes of them when connections die."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from models.base.errors import ServiceUnavailable
from models.base.ids import new_id
from models.repositories.database import Database, Query
from models.repositories.identity.session_limits import SessionLimits
from models.settings.derived import OWNER_ROLE, as_owner
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase

WHO = Query("SELECT current_setting('app.organization_id') AS organization, %(answer)s::int AS answer", {"answer": 42})
END_THEM = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reader'"


async def test_the_answers_of_one_round_trip_come_in_order(database: TestDatabase) -> None:
    organization, user = new_id(), new_id()
    reader = Database(database.api, pool_size=1)
    first, second = await reader.read(organization, user, [WHO, Query("SELECT 1 AS one UNION ALL SELECT 2")])
    assert (first.columns, first.rows) == (("organization", "answer"), [(str(organization), 42)])
    assert (second.columns, second.rows) == (("one",), [(1,), (2,)])
    await reader.close()


async def test_nothing_of_one_reader_is_left_for_the_next(database: TestDatabase) -> None:
    reader = Database(database.api, pool_size=1)
    await reader.read(new_id(), new_id(), [WHO])
    async with reader._readers.connect() as connection:
        shown = (await connection.execute(text("SELECT current_setting('app.organization_id', true)"))).scalar_one()
    assert not shown
    async with reader.system() as session:
        shown = (await session.execute(text("SELECT current_setting('app.organization_id', true)"))).scalar_one()
    assert not shown
    await reader.close()


async def test_connections_that_died_in_the_pool_are_replaced(database: TestDatabase) -> None:
    reader = Database(database.api, pool_size=3, application_name="reader")
    for _ in range(2):
        await reader.read(new_id(), new_id(), [WHO])
        with psycopg.connect(database.admin, autocommit=True) as connection:
            connection.execute(END_THEM)
        [answered] = await reader.read(new_id(), new_id(), [WHO])
        assert answered.rows[0][1] == 42
    await reader.close()


async def test_what_the_url_makes_of_a_session_stays(database: TestDatabase) -> None:
    asked = Query("SELECT current_user, current_setting('plan_cache_mode'), current_setting('statement_timeout')")
    url = as_owner(f"{database.migrator}?options=-c%20statement_timeout%3D7s")
    owner = Database(url, pool_size=1)
    [answered] = await owner.read(new_id(), new_id(), [asked])
    async with owner.system() as session:
        written = (await session.execute(text(asked.statement))).one()
    assert answered.rows == [tuple(written)] == [(OWNER_ROLE, "force_generic_plan", "7s")]
    await owner.close()


async def test_a_statement_that_fails_leaves_the_connection_usable(database: TestDatabase) -> None:
    reader = Database(database.api, pool_size=1)
    with pytest.raises(psycopg.errors.DivisionByZero):
        await reader.read(new_id(), new_id(), [Query("SELECT 1 / 0"), WHO])
    [answered] = await reader.read(new_id(), new_id(), [WHO])
    assert answered.rows[0][1] == 42
    await reader.close()


async def test_a_reader_that_is_cancelled_leaves_nothing_behind(database: TestDatabase) -> None:
    reader = Database(database.api, pool_size=1)
    slow = asyncio.create_task(reader.read(new_id(), new_id(), [Query("SELECT pg_sleep(600)"), WHO]))
    await asyncio.sleep(0.3)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    async with asyncio.timeout(GIVE_UP_S):
        [answered] = await reader.read(new_id(), new_id(), [WHO])
    assert answered.rows[0][1] == 42
    await reader.close()


async def test_one_that_is_cancelled_while_it_connects_hangs_up() -> None:
    """Half a connection holds a place at the server, and the end of its database, for as long as PostgreSQL waits for a password."""
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        asked.set()
        await reader.read()
        hung_up.set()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = Database(f"postgresql://somebody:secret@127.0.0.1:{port}/any", pool_size=1)
    gc.disable()  # which would find it some time
    try:
        waiting = asyncio.create_task(transact(database, "SELECT 1"))
        async with asyncio.timeout(GIVE_UP_S):
            await asked.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await hung_up.wait()
    finally:
        gc.enable()
        server.close()
        await database.close()


async def test_where_no_server_listens_it_is_unavailable() -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/nothing", pool_size=2)
    with pytest.raises(ServiceUnavailable, match="database"):
        await nowhere.read(new_id(), new_id(), [WHO])
    await nowhere.close()


Use = Callable[[Database, str], Coroutine[Any, Any, object]]


async def read(database: Database, statement: str) -> None:
    await database.read(new_id(), new_id(), [WHO, Query(statement)])


async def transact(database: Database, statement: str) -> None:
    async with database.tenant(new_id()) as session:
        await session.execute(text(statement))


@asynccontextmanager
async def impatient(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool_size=1, limits=SessionLimits(lock_wait_s=0.2), application_name="reader")
    try:
        yield database
    finally:
        await database.close()


@pytest.mark.parametrize("use", [read, transact])
async def test_a_lock_that_another_holds_is_waited_for_only_so_long(database: TestDatabase, use: Use) -> None:
    async with impatient(database.api) as waiting:
        with psycopg.connect(database.owner) as holder:
            holder.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(ServiceUnavailable) as refused:
                await use(waiting, "SELECT id FROM api_keys")
            assert (refused.value.code, refused.value.retry_after_s) == ("DATABASE_BUSY", 2.0)
        await use(waiting, "SELECT id FROM api_keys")


@pytest.mark.parametrize("use", [read, transact])
async def test_a_statement_that_is_cancelled_is_busy_and_no_failure(database: TestDatabase, use: Use) -> None:
    async with impatient(database.api) as waiting:
        slow = asyncio.create_task(use(waiting, "SELECT pg_sleep(3600)"))
        with psycopg.connect(database.admin, autocommit=True) as admin:
            cancel = (
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND state = 'active' AND query LIKE '%%pg_sleep(3600)%%' AND pid != pg_backend_pid()"
            )
            while admin.execute(cancel, [database.name]).fetchone() is None:
                await asyncio.sleep(0.05)
        with pytest.raises(ServiceUnavailable) as refused:
            await slow
        assert refused.value.code == "DATABASE_BUSY"


async def idle_too_long(waiting: Database, database: TestDatabase) -> None:
    async with waiting.system() as session:
        await session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 50"))
        with psycopg.connect(database.admin, autocommit=True) as admin:
            while admin.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = 'reader'").fetchone():
                await asyncio.sleep(0.05)
        await session.execute(text("SELECT 1"))


async def test_a_transaction_that_the_server_ended_for_its_idleness_is_unavailable(database: TestDatabase) -> None:
    async with impatient(database.api) as waiting:
        with pytest.raises(ServiceUnavailable) as refused:
            await idle_too_long(waiting, database)
        assert (refused.value.code, refused.value.retry_after_s) == ("DATABASE_UNAVAILABLE", 2.0)


async def test_deadlocked_transactions_are_busy(database: TestDatabase) -> None:
    async with impatient(database.owner) as db:
        with pytest.raises(ServiceUnavailable) as refused:
            await transact(db, "DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$")
        assert refused.value.code == "DATABASE_BUSY"


async def test_what_the_url_asks_of_its_sessions_is_kept(database: TestDatabase) -> None:
    url = f"{database.api}{'&' if '?' in database.api else '?'}options=-c%20app.colour%3Dblue"
    async with impatient(url) as given, given.system() as session:
        shown = await session.execute(text("SELECT current_setting('app.colour'), current_setting('lock_timeout')"))
        assert shown.one() == ("blue", "200ms")
