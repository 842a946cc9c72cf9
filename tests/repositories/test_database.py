"""Transactions of one statement: whose rows they see, and what becomes of them when connections die."""

import asyncio

import psycopg
import pytest
from sqlalchemy import text

from models.base.errors import ServiceUnavailable
from models.base.ids import new_id
from models.repositories.database import Database, Query
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


async def test_where_no_server_listens_it_is_unavailable() -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/nothing", pool_size=2)
    with pytest.raises(ServiceUnavailable, match="database"):
        await nowhere.read(new_id(), new_id(), [WHO])
    await nowhere.close()
