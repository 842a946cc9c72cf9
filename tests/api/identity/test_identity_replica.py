"""The identity replica believes nothing that it cannot prove: lost listeners, outages, and what was missed meanwhile."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from models.base.errors import ServiceUnavailable
from models.domain.keys import fingerprint
from models.repositories.listener import Connection, Listener
from models.repositories.replica import Entry, Replica
from tests.api.conftest import People, RunningApi
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase

CHANNEL = "things"
KILL_LISTENERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'quarterdeck-listen-%%'"
)


class Things:
    """Rows of a dictionary; `failures` says how many of the next reads fail."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.full_loads = self.partial_loads = self.failures = 0

    async def load_all(self, _connection: Connection) -> Iterable[Entry[str, int]]:
        self._maybe_fail()
        self.full_loads += 1
        return [Entry(key, value, frozenset({key, "all"})) for key, value in self.rows.items()]

    async def load_some(self, _connection: Connection, tags: frozenset[str]) -> Iterable[Entry[str, int]]:
        self._maybe_fail()
        self.partial_loads += 1
        return [
            Entry(key, value, frozenset({key, "all"}))
            for key, value in self.rows.items()
            if key in tags or "all" in tags
        ]

    def _maybe_fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise ServiceUnavailable("away")


@asynccontextmanager
async def replica_of(database: TestDatabase, things: Things, **options: Any) -> AsyncIterator[Replica[str, int]]:
    replica: Replica[str, int] = Replica(database.api, CHANNEL, things, **options)
    await replica.start()
    try:
        yield replica
    finally:
        await replica.close()


def notify(database: TestDatabase, *payloads: str) -> None:
    with psycopg.connect(database.api, autocommit=True) as connection:
        for payload in payloads:
            connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))


async def eventually(condition: Callable[[], bool], within_s: float = GIVE_UP_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.01)


async def test_it_reads_again_just_what_was_named(database: TestDatabase):
    things = Things()
    things.rows = {"a": 1, "b": 2}
    async with replica_of(database, things) as replica:
        assert (replica.get("a"), replica.get("b"), len(replica), replica.fresh) == (1, 2, 2, True)
        things.rows = {"a": 10, "b": 20, "c": 30}
        before = replica.version
        notify(database, "a", "c")
        await replica.catch_up()
        assert (replica.get("a"), replica.get("b"), replica.get("c")) == (10, 2, 30)
        assert replica.version > before
        del things.rows["a"]
        notify(database, "a")
        await replica.catch_up()
        assert replica.get("a") is None
        things.rows = {"d": 4}
        notify(database, "all")
        await replica.catch_up()
        assert list(replica.values()) == [4]
        assert things.full_loads == 1


async def test_catching_up_shows_what_was_committed_before_every_time(database: TestDatabase):
    things = Things()
    async with replica_of(database, things) as replica:
        for number in range(100):
            things.rows["a"] = number
            await asyncio.to_thread(notify, database, "a")
            assert await replica.catch_up()
            assert replica.get("a") == number


async def test_questions_asked_at_once_share_a_round(database: TestDatabase):
    rounds = 0

    async def connected(_connection: Connection) -> None:
        pass

    async def count(_connection: Connection, _payloads: frozenset[str]) -> None:
        nonlocal rounds
        rounds += 1

    listener = Listener(database.api, CHANNEL, on_connected=connected, on_round=count, ping_interval_s=3600)
    await listener.start()
    try:
        before = rounds
        assert all(await asyncio.gather(*(listener.catch_up(timeout_s=GIVE_UP_S) for _ in range(500))))
        assert rounds == before + 1
    finally:
        await listener.close()


async def test_a_lost_listener_reconnects_and_loads_everything(database: TestDatabase, people: People):
    things = Things()
    async with replica_of(database, things) as replica:
        things.rows["missed"] = 1  # while nobody listens
        with psycopg.connect(database.admin, autocommit=True) as connection:
            connection.execute(KILL_LISTENERS)
        await eventually(lambda: replica.get("missed") == 1)
        assert things.full_loads == 2
        things.rows["heard"] = 2
        notify(database, "heard")
        await eventually(lambda: replica.get("heard") == 2)


@pytest.mark.parametrize("failures", [1, 3])
async def test_a_read_that_fails_is_made_good_by_a_full_load(database: TestDatabase, failures: int):
    things = Things()
    async with replica_of(database, things) as replica:
        things.rows["a"] = 1
        things.failures = failures
        notify(database, "a")
        await eventually(lambda: replica.get("a") == 1)
        assert (things.full_loads, things.partial_loads) == (2, 0)


async def test_it_stops_being_fresh_and_says_so(database: TestDatabase):
    things = Things()
    async with replica_of(database, things, believed_s=0.3) as replica:
        assert replica.fresh
        things.failures = 10**9
        notify(database, "a")
        await eventually(lambda: not replica.fresh)
        assert not await replica.catch_up(timeout_s=0.05)
        things.failures = 0
        await eventually(lambda: replica.fresh)


async def test_a_database_that_is_down_does_not_hold_up_the_start(caplog: pytest.LogCaptureFixture):
    things = Things()
    replica: Replica[str, int] = Replica("postgresql://nobody:secret-word@127.0.0.1:1/none", CHANNEL, things)
    with caplog.at_level(logging.DEBUG):
        await replica.start(timeout_s=0.5)
        assert not replica.fresh
        await replica.close()
    assert "failed" in caplog.text
    assert "secret-word" not in caplog.text


async def test_it_loads_everything_now_and_then(database: TestDatabase):
    things = Things()
    async with replica_of(database, things, reload_interval_s=0.1) as replica:
        things.rows["unannounced"] = 1
        await eventually(lambda: replica.get("unannounced") == 1)


async def test_waiting_for_a_change(database: TestDatabase):
    things = Things()
    async with replica_of(database, things) as replica:
        waiting = asyncio.create_task(replica.changed())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        notify(database, "a")
        await asyncio.wait_for(waiting, GIVE_UP_S)


async def test_while_nothing_can_be_proved_every_request_is_503(
    api: RunningApi, people: People, monkeypatch: pytest.MonkeyPatch
):
    person = people.person()
    assert (await api.client.get("/auth/me", headers=person.bearer)).status_code == 200
    monkeypatch.setattr(api.state.identities._replica, "_believed_s", -1)
    response = await api.client.get("/auth/me", headers=person.bearer)
    assert (response.status_code, response.json()["code"]) == (503, "IDENTITIES_STALE")
    assert int(response.headers["retry-after"]) >= 1


async def test_a_token_that_may_be_good_is_503_while_the_database_is_silent(
    api: RunningApi, people: People, monkeypatch: pytest.MonkeyPatch
):
    async def silent(_: float) -> bool:
        return False

    monkeypatch.setattr(api.state.identities._replica, "catch_up", silent)
    for _ in range(2):
        unknown = await api.client.get("/auth/me", headers={"x-api-key": "sk-qd-" + "0" * 64})
        junk = await api.client.get("/auth/me", headers={"x-api-key": "junk"})
        assert (unknown.status_code, junk.status_code) == (503, 401)
        monkeypatch.setattr(api.state.identities._replica, "_believed_s", -1)


async def test_the_listener_lost_and_a_key_revoked_meanwhile(api: RunningApi, people: People, database: TestDatabase):
    person = people.person()
    assert (await api.client.get("/auth/me", headers=person.bearer)).status_code == 200
    with psycopg.connect(database.admin, autocommit=True) as connection:
        connection.execute(KILL_LISTENERS)
        connection.execute("ALTER TABLE api_keys DISABLE TRIGGER api_keys_identity")  # the notification that got lost
        connection.execute("UPDATE api_keys SET revoked_at = now()")
    await eventually(lambda: api.state.identities._replica.get(fingerprint(person.api_key)) is None)
    assert (await api.client.get("/auth/me", headers=person.bearer)).status_code == 401


async def test_a_payload_that_names_nothing_is_no_news(api: RunningApi, database: TestDatabase, people: People):
    person = people.person()
    with psycopg.connect(database.api, autocommit=True) as connection:
        for payload in ("", "api_keys", "api_keys:x", "nonsense:" + "9" * 100, "users:"):
            connection.execute("SELECT pg_notify('identities', %s)", (payload,))
    assert (await api.client.get("/auth/me", headers=person.bearer)).status_code == 200
