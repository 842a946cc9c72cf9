"""Hearing notifications with an hour until the next ping: who does not wake up by itself is not heard of."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest

from models.repositories.listener import Connection, Listener
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase

CHANNEL = "of_this_test"
AN_HOUR_S = 3600.0


class Heard:
    """Payloads in the order of their rounds; `meanwhile` is done in a round that has one."""

    def __init__(self) -> None:
        self.payloads: list[str] = []
        self.meanwhile: Callable[[], object] | None = None
        self._changed = asyncio.Event()

    async def on_connected(self, _connection: Connection) -> None:
        self._changed.set()

    async def on_round(self, connection: Connection, payloads: frozenset[str]) -> None:
        self.payloads += sorted(payloads)
        if payloads and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
            await connection.execute("SELECT 1")
        self._changed.set()

    async def until(self, *payloads: str) -> None:
        async with asyncio.timeout(GIVE_UP_S):
            while not set(payloads) <= set(self.payloads):
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def listening(database: TestDatabase) -> AsyncIterator[tuple[Listener, Heard]]:
    heard = Heard()
    listener = Listener(
        database.api, CHANNEL, on_connected=heard.on_connected, on_round=heard.on_round, ping_interval_s=AN_HOUR_S
    )
    await listener.start(GIVE_UP_S)
    try:
        yield listener, heard
    finally:
        await listener.close()


@pytest.fixture
def other(database: TestDatabase):
    with psycopg.connect(database.api, autocommit=True) as connection:
        yield connection


def notify(connection: psycopg.Connection, payload: str) -> None:
    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))


async def test_what_is_notified_while_nobody_asks_is_heard(database: TestDatabase, other: psycopg.Connection) -> None:
    async with listening(database) as (_, heard):
        for payload in ("first", "second"):
            notify(other, payload)
            await heard.until(payload)
        assert heard.payloads == ["first", "second"]


async def test_what_comes_with_the_answer_to_a_statement_is_heard(
    database: TestDatabase, other: psycopg.Connection
) -> None:
    """The socket will not tell of it again."""
    async with listening(database) as (_, heard):
        heard.meanwhile = lambda: notify(other, "meanwhile")
        notify(other, "first")
        await heard.until("meanwhile")


async def test_a_question_is_answered_when_it_is_asked(database: TestDatabase, other: psycopg.Connection) -> None:
    async with listening(database) as (listener, heard):
        notify(other, "before")
        assert await listener.catch_up(GIVE_UP_S)
        assert heard.payloads == ["before"]
        assert await listener.catch_up(GIVE_UP_S)


async def test_nothing_is_lost_between_questions(database: TestDatabase, other: psycopg.Connection) -> None:
    async with listening(database) as (listener, heard):

        async def ask() -> None:
            for _ in range(50):
                assert await listener.catch_up(GIVE_UP_S)

        asking = [asyncio.ensure_future(ask()) for _ in range(3)]
        for number in range(200):
            await asyncio.to_thread(notify, other, str(number))
        await asyncio.gather(*asking)
        assert await listener.catch_up(GIVE_UP_S)
        assert sorted(heard.payloads, key=int) == [str(number) for number in range(200)]
