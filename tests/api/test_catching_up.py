"""Nobody is refused for what this process has not read yet, as long as it can still be read (decision 50)."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from api.inference.composition import Inference
from models.repositories import listener as listener_module
from models.repositories.identity.session_limits import SessionLimits
from models.repositories.listener import Connection
from models.repositories.patience import done_within
from models.repositories.replica import Entry, Replica
from models.settings import Settings
from models.settings.derived import DatabaseRole
from tests.api.conftest import People, Person, RunningApi, running_api, served
from tests.api.following import follower
from tests.api.test_events import append, greeted
from tests.inference.running import database_away
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase, TestPostgres

CHANNEL = "things"
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'quarterdeck-listen-%%'"
BELIEVED_S = 1.5
"""Instead of 30 s, so that a stall need not be longer."""
HANG = "SELECT pg_sleep(3600)"


def tables_in_memory(api: RunningApi) -> list[Replica[Any, Any]]:
    knowledge = api.state.of(Inference)._knowledge
    return [api.state.identities._replica, knowledge._routes, knowledge._models]


def listening(database: TestDatabase) -> list[int]:
    with psycopg.connect(database.admin, autocommit=True) as admin:
        return [pid for (pid,) in admin.execute(LISTENERS, [database.name])]


def end(pids: Iterable[int], database: TestDatabase) -> None:
    with psycopg.connect(database.admin, autocommit=True) as admin:
        for pid in pids:
            admin.execute("SELECT pg_terminate_backend(%s)", [pid])


async def status_of(api: RunningApi, person: Person) -> int:
    """Of a request that needs identities, routes and catalogue, and no transaction."""
    return (await api.client.get("/v1/models", headers=person.bearer)).status_code


@asynccontextmanager
async def every_connection_in_use(api: RunningApi) -> AsyncIterator[None]:
    database = api.state.database
    async with AsyncExitStack() as stack:
        for _ in range(database._pool_size):
            session = await stack.enter_async_context(database.system())
            await session.execute(text("SELECT 1"))
        yield


async def test_a_new_key_is_known_while_requests_hold_every_connection(api: RunningApi, people: People):
    async with every_connection_in_use(api):
        assert await status_of(api, people.person()) == 200


async def test_a_new_key_is_known_when_the_listeners_have_just_been_lost(
    api: RunningApi, people: People, database: TestDatabase
):
    for _ in range(3):
        end(listening(database), database)
        assert await status_of(api, people.person()) == 200


@contextmanager
def stopped(pids: Iterable[int]) -> Iterator[None]:
    pids = list(pids)
    assert pids
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_a_new_key_is_known_while_the_listeners_connections_are_silent(
    api: RunningApi, people: People, database: TestDatabase
):
    with stopped(listening(database)):
        assert await status_of(api, people.person()) == 200


async def test_a_known_key_is_known_right_after_a_stall(
    api: RunningApi, people: People, monkeypatch: pytest.MonkeyPatch
):
    person = people.person()
    assert await status_of(api, person) == 200
    identities = api.state.identities._replica
    loaded_at = identities._loaded_at
    for replica in tables_in_memory(api):
        monkeypatch.setattr(replica, "_believed_s", BELIEVED_S)
    time.sleep(BELIEVED_S + 0.1)  # noqa: ASYNC251  (the stall)
    assert not any(replica.fresh for replica in tables_in_memory(api))
    assert await status_of(api, person) == 200
    assert identities._loaded_at == loaded_at  # asked, not loaded again


@pytest.mark.parametrize("which", [0, 1, 2], ids=["identities", "routes", "catalogue"])
async def test_whatever_was_lost_is_caught_up_with(
    api: RunningApi, people: People, monkeypatch: pytest.MonkeyPatch, which: int
):
    person = people.person()
    assert await status_of(api, person) == 200
    listener = tables_in_memory(api)[which]._listener
    monkeypatch.setattr(listener, "_verified_at", -math.inf)
    assert await status_of(api, person) == 200


async def test_a_call_of_a_model_catches_up_too(api: RunningApi, people: People, monkeypatch: pytest.MonkeyPatch):
    person = people.person()
    for replica in tables_in_memory(api):
        monkeypatch.setattr(replica._listener, "_verified_at", -math.inf)
    answer = await api.client.post(
        "/v1/chat/completions", json={"model": "none", "messages": []}, headers=person.bearer
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_the_health_of_a_process_that_stood_still_is_good(api: RunningApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api.state.identities._replica._listener, "_verified_at", -math.inf)
    assert (await api.client.get("/health")).status_code == 200


async def test_a_stream_goes_on_after_a_stall(api_settings: Settings, people: People, monkeypatch: pytest.MonkeyPatch):
    async with served(api_settings) as server:
        person = people.person()
        identities = server.state.identities
        async with follower(f"{server.url}/events/stream", person.bearer) as reader:
            await greeted(reader)
            for _ in range(2):
                await identities.catch_up()
                monkeypatch.setattr(identities._replica._listener, "_verified_at", -math.inf)
                new = append(people, person.organization_id)
                seen = await reader.next()
                assert seen is not None
                assert seen.id == new


async def test_while_the_database_is_away_it_is_503_with_retry_after(
    api: RunningApi, people: People, postgres: TestPostgres, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
):
    known, unknown = people.person(), {"x-api-key": "sk-qd-" + "0" * 64}
    assert await status_of(api, known) == 200
    people.close()
    with database_away(postgres, database):
        assert await status_of(api, known) == 200  # what was known a moment ago
        for replica in tables_in_memory(api):
            monkeypatch.setattr(replica, "_believed_s", 0.0)
        for answer in await asyncio.gather(
            api.client.get("/v1/models", headers=known.bearer), api.client.get("/v1/models", headers=unknown)
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "identities_stale")
            assert int(answer.headers["retry-after"]) >= 1
    monkeypatch.undo()
    assert await status_of(api, known) == 200


async def test_a_lock_held_for_long_is_503_with_retry_after(
    api_settings: Settings, people: People, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("api.databases.OF_ROLE", {DatabaseRole.API: SessionLimits(lock_wait_s=0.3)})
    async with running_api(api_settings) as api:
        person = people.person()
        made = (await api.client.post("/api_keys", json={"name": "x"}, headers=person.bearer)).json()["key"]["id"]
        path = f"/api_keys/{made}"
        with psycopg.connect(database.owner) as holder:
            holder.execute("LOCK TABLE idempotency_keys IN ACCESS EXCLUSIVE MODE")
            holder.execute("SELECT FROM api_keys WHERE id = %s FOR UPDATE", [made])
            with_key = {**person.bearer, "idempotency-key": "one"}
            for answer in (
                await api.client.put(path, json={"name": "y"}, headers=person.bearer),
                await api.client.post("/api_keys", json={"name": "z"}, headers=with_key),
            ):
                assert (answer.status_code, answer.json()["code"]) == (503, "DATABASE_BUSY")
                assert int(answer.headers["retry-after"]) >= 1
        assert (await api.client.put(path, json={"name": "y"}, headers=person.bearer)).status_code == 200


# -- The listener


class Numbers:
    """One number under "n". `before_loading` is awaited with the connection at each read."""

    def __init__(self) -> None:
        self.number = self.full_loads = 0
        self.before_loading: Callable[[Connection], Awaitable[object]] | None = None

    async def load_all(self, connection: Connection) -> list[Entry[str, int]]:
        self.full_loads += 1
        return await self._load(connection)

    async def load_some(self, connection: Connection, _tags: frozenset[str]) -> list[Entry[str, int]]:
        return await self._load(connection)

    async def _load(self, connection: Connection) -> list[Entry[str, int]]:
        before, self.before_loading = self.before_loading, None
        number = self.number
        if before is not None:
            await before(connection)
        return [Entry("n", number, frozenset({"n"}))]


@asynccontextmanager
async def replica_of(database: TestDatabase, numbers: Numbers) -> AsyncIterator[Replica[str, int]]:
    replica: Replica[str, int] = Replica(database.api, CHANNEL, numbers)
    await replica.start(GIVE_UP_S)
    replica._listener._ping_interval_s = 3600  # nothing is noticed by chance
    await replica.catch_up(GIVE_UP_S)
    try:
        yield replica
    finally:
        await replica.close()


async def hang(connection: Connection) -> None:
    await connection.execute(HANG)


async def hang_elsewhere(_connection: Connection) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("how", [hang, hang_elsewhere])
@pytest.mark.parametrize("where", ["round", "connection"])
async def test_a_load_that_hangs_is_given_up(
    database: TestDatabase,
    monkeypatch: pytest.MonkeyPatch,
    how: Callable[[Connection], Awaitable[object]],
    where: str,
):
    monkeypatch.setattr(listener_module, "HANDLING_TIMEOUT_S", 0.5)
    monkeypatch.setattr(listener_module, "LIMITS", replace(listener_module.LIMITS, statement_s=2.0))
    numbers = Numbers()
    async with replica_of(database, numbers) as replica:
        numbers.number, numbers.before_loading = 1, how
        if where == "connection":
            end(listening(database), database)
        else:
            notify(database)
        assert await replica.catch_up(GIVE_UP_S)
        assert replica.get("n") == 1
        assert numbers.before_loading is None
        while hanging(database):  # nor does it go on at the server
            await asyncio.sleep(0.05)


async def test_a_question_cuts_the_pause_between_two_tries_short(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listener_module, "RECONNECT_DELAYS_S", (3600.0,))
    numbers = Numbers()
    async with replica_of(database, numbers) as replica:
        loads = numbers.full_loads
        end(listening(database), database)
        assert await replica.catch_up(GIVE_UP_S)
        assert numbers.full_loads == loads + 1


async def test_a_notification_that_comes_during_a_load_is_heard(database: TestDatabase):
    numbers = Numbers()

    async def change_meanwhile(connection: Connection) -> None:
        numbers.number = 2
        notify(database)
        await connection.execute("SELECT 1")  # which brings the notification along

    async with replica_of(database, numbers) as replica:
        numbers.number, numbers.before_loading = 1, change_meanwhile
        notify(database)
        async with asyncio.timeout(GIVE_UP_S):
            while replica.get("n") != 2:
                await asyncio.sleep(0.01)


async def test_what_a_stall_made_old_while_it_was_asked_for_is_asked_for_again(database: TestDatabase):
    numbers = Numbers()

    async def stall(_connection: Connection) -> None:
        time.sleep(BELIEVED_S + 0.1)  # noqa: ASYNC251

    async with replica_of(database, numbers) as replica:
        replica._believed_s = BELIEVED_S
        numbers.before_loading = stall
        notify(database)
        assert await replica.catch_up(GIVE_UP_S)
        assert replica.fresh


async def test_a_stall_uses_up_no_patience():
    awaited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(done_within(1.0, awaited))
    await asyncio.sleep(0)
    time.sleep(1.1)  # noqa: ASYNC251  (the stall)
    await asyncio.sleep(0.05)
    awaited.set_result(None)
    assert await waiting
    assert not await done_within(0.1, asyncio.get_running_loop().create_future())


def hanging(database: TestDatabase) -> bool:
    with psycopg.connect(database.admin, autocommit=True) as admin:
        found = admin.execute(
            "SELECT FROM pg_stat_activity WHERE datname = %s AND state = 'active' AND query = %s", [database.name, HANG]
        )
        return found.fetchone() is not None


def notify(database: TestDatabase) -> None:
    with psycopg.connect(database.api, autocommit=True) as connection:
        connection.execute("SELECT pg_notify(%s, 'n')", [CHANNEL])
