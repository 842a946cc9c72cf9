"""`/events/stream` (contract/fleet.md 12, 18.18; DESIGN 3 "Events")."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import psycopg
import pytest

from api.http import following as following_module
from api.http import sse
from models.base.ids import new_id
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.fleet.operations import OperationKind
from models.domain.identity.roles import Role
from models.domain.operations import OperationStatus
from models.settings import Settings
from tests.api.conftest import People, Person, RunningApi, Served, served
from tests.api.following import Follower, follower
from tests.factories.approvals import approval
from tests.factories.fleet import instance
from tests.factories.operations import operation
from tests.factories.rows import Rows
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase

APPEND = "SELECT append_event(%s, %s, %s, %s::jsonb)"


@pytest.fixture
async def server(api_settings: Settings) -> AsyncIterator[Served]:
    async with served(api_settings) as running:
        yield running


def append(people: People, organization_id: UUID, kind: str = "instance.updated", **data: object) -> int:
    """Its number, which it has from its commit on."""
    stream = f"organization/{organization_id}"
    people.execute(APPEND, stream, organization_id, kind, json.dumps(data or {"ids": [str(new_id())]}))
    ((seq,),) = people.execute("SELECT last_seq FROM event_streams WHERE stream = %s", stream)
    assert isinstance(seq, int)
    return seq


def keepalive_every(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = following_module.follow.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "keepalive_s", seconds)


async def greeted(reader: Follower) -> int:
    assert reader.response.status_code == 200
    hello = await reader.next()
    assert hello is not None
    assert (hello.kind, hello.data) == ("hello", {"ok": True})
    assert hello.id is not None
    return hello.id


async def test_hello_comes_first_and_what_was_before_does_not_come(server: Served, people: People):
    person = people.person()
    old = append(people, person.organization_id)
    async with follower(f"{server.url}/events/stream", person.bearer) as reader:
        assert reader.response.headers["content-type"].startswith("text/event-stream")
        assert reader.response.headers["x-request-id"]
        assert await greeted(reader) == old
        new = append(people, person.organization_id, ids=["a"])
        seen = await reader.next()
        assert seen is not None
        assert (seen.kind, seen.id, seen.data["ids"]) == ("instance.updated", new, ["a"])
        assert seen.data["emitted_at"].endswith("Z")


async def test_an_event_arrives_with_its_commit_and_not_before(
    server: Served, people: People, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
):
    """Told by the database: the next look without a bell would be in an hour."""
    keepalive_every(3600.0, monkeypatch)
    person = people.person()
    stream = f"organization/{person.organization_id}"
    async with follower(f"{server.url}/events/stream", person.bearer) as reader:
        await greeted(reader)
        async with await psycopg.AsyncConnection.connect(database.owner) as connection:
            await connection.execute(APPEND, (stream, person.organization_id, "instance.updated", '{"ids": []}'))
            arrival = asyncio.create_task(reader.next())
            await asyncio.sleep(0.4)
            assert not arrival.done()
        seen = await arrival
        assert seen is not None
        assert seen.kind == "instance.updated"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["instance.updated", "action_log.created:a", "action_log.created:b"]),
        ({"topics": "instances"}, ["instance.updated"]),
        ({"topics": "actions"}, ["action_log.created:a", "action_log.created:b"]),
        ({"topics": " action_logs , instances"}, ["instance.updated", "action_log.created:a", "action_log.created:b"]),
        ({"instance_id": "A"}, ["instance.updated", "action_log.created:a"]),
        ({"instance_id": "A", "topics": "actions"}, ["action_log.created:a"]),
        ({"resource_id": "B", "topics": "actions"}, ["action_log.created:b"]),
        ({"resource_id": "B", "instance_id": "A", "topics": "actions"}, []),
    ],
)
async def test_topics_and_filters(server: Served, people: People, params: dict[str, str], expected: list[str]):
    person, ids = people.person(), {"a": str(new_id()), "b": str(new_id())}
    organization = person.organization_id
    params = {name: ids.get(value.lower(), value) for name, value in params.items()}
    append(people, organization, ids=[ids["a"]])
    append(people, organization, "something.else", ids=["x"])
    for name, instance_id in ids.items():
        append(people, organization, "action_log.created", ids=[name], instance_ids=[instance_id])
    append(people, organization, "action_log.created", ids=["end"], instance_ids=list(ids.values()))
    append(people, organization, ids=["end"])
    async with follower(f"{server.url}/events/stream", person.bearer, after=0, **params) as reader:
        await greeted(reader)
        seen = []
        while (event := await reader.next()) is not None and event.data["ids"] != ["end"]:
            of = f":{event.data['ids'][0]}" if event.kind == "action_log.created" else ""
            seen.append(f"{event.kind}{of}")
    assert seen == expected


@pytest.mark.parametrize("params", [{}, {"topics": "approvals"}])
async def test_what_people_are_asked_is_followed(
    server: Served, people: People, database: TestDatabase, params: dict[str, str]
):
    person, rows = people.person(), Rows(database)
    machine = instance(person.organization_id, new_id(), InstanceStatus.READY)
    waiting = operation(machine, OperationKind.INSTANCE_TERMINATE, OperationStatus.WAITING_APPROVAL)
    row = approval(waiting)
    rows.add(waiting, row)
    rows.close()
    async with (
        follower(f"{server.url}/events/stream", person.bearer, **params) as reader,
        httpx.AsyncClient() as client,
    ):
        await greeted(reader)
        decided = await client.post(f"{server.url}/approvals/{row.id}/approve", headers=person.bearer)
        assert decided.status_code == 200, decided.text
        while (event := await reader.next()) is not None and event.kind != "approval.updated":
            assert not params
    assert event is not None
    assert event.data["ids"] == [str(row.id)]


@pytest.mark.parametrize(
    ("query", "code"),
    [("topics=weather", "UNKNOWN_TOPIC"), ("instance_id=x", "INVALID_REQUEST"), ("topic=actions", "UNKNOWN_FILTER")],
)
async def test_what_cannot_be_followed_is_422(api: RunningApi, people: People, query: str, code: str):
    response = await api.client.get(f"/events/stream?{query}", headers=people.person().bearer)
    assert (response.status_code, response.json()["code"]) == (422, code)


async def test_nobody_follows_without_credentials(api: RunningApi):
    assert (await api.client.get("/events/stream")).status_code == 401


async def test_no_organization_sees_anothers_events(server: Served, people: People):
    person, other = people.person(Role.VIEWER), people.person()
    async with follower(f"{server.url}/events/stream", person.bearer, after=0) as reader:
        await greeted(reader)
        append(people, other.organization_id, ids=["theirs"])
        append(people, person.organization_id, ids=["mine"])
        seen = await reader.next()
        assert seen is not None
        assert seen.data["ids"] == ["mine"]


@pytest.mark.parametrize("after", ["-1", "abc", "1.5", str(10**25), str(2**63), "99"])
async def test_a_place_that_the_stream_never_had_is_told_before_what_comes(server: Served, people: People, after: str):
    person = people.person()
    newest = append(people, person.organization_id)
    async with follower(f"{server.url}/events/stream", person.bearer, after=after) as reader:
        assert await greeted(reader) == newest
        lost = await reader.next()
        assert lost is not None
        assert (lost.kind, lost.data) == ("resync", {"after": None, "next": newest + 1})
        following = append(people, person.organization_id)
        seen = await reader.next()
        assert seen is not None
        assert seen.id == following


async def test_events_removed_with_age_are_announced_as_missing(server: Served, people: People):
    person = people.person()
    for _ in range(5):
        append(people, person.organization_id)
    people.execute("DELETE FROM events WHERE seq <= 3")
    async with follower(f"{server.url}/events/stream", person.bearer, after=1) as reader:
        await greeted(reader)
        kinds = [await reader.next() for _ in range(3)]
    assert [(seen.kind, seen.id) for seen in kinds if seen] == [
        ("resync", None), ("instance.updated", 4), ("instance.updated", 5),
    ]  # fmt: skip


async def test_more_events_than_one_read_takes_come_in_order(server: Served, people: People):
    person = people.person()
    stream = f"organization/{person.organization_id}"
    people.execute(
        "SELECT append_event(%s, %s, 'instance.updated', '{\"ids\": []}') FROM generate_series(1, 1000)",
        stream, person.organization_id,
    )  # fmt: skip
    async with follower(f"{server.url}/events/stream", person.bearer, after=0) as reader:
        await greeted(reader)
        numbers = [seen.id for _ in range(1000) if (seen := await reader.next())]
    assert numbers == list(range(1, 1001))


async def test_silence_is_filled_with_keepalives(server: Served, people: People, monkeypatch: pytest.MonkeyPatch):
    assert following_module.KEEPALIVE_INTERVAL_S == 15
    keepalive_every(0.1, monkeypatch)
    async with follower(f"{server.url}/events/stream", people.person().bearer) as reader:
        await greeted(reader)
        seen = [await reader.next() for _ in range(2)]
    assert [each.data for each in seen if each] == [": keepalive"] * 2


async def test_a_revoked_key_ends_its_stream(server: Served, people: People, monkeypatch: pytest.MonkeyPatch):
    keepalive_every(0.2, monkeypatch)
    person = people.person()
    async with follower(f"{server.url}/events/stream", person.bearer) as reader:
        await greeted(reader)
        people.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %s", person.api_key_id)
        await server.state.identities.catch_up()
        append(people, person.organization_id, ids=["not for you"])
        assert {seen.kind for seen in await reader.until_end()} <= {":"}


async def test_a_server_that_stops_ends_its_streams_before_their_next_look(
    api_settings: Settings, people: People, monkeypatch: pytest.MonkeyPatch
):
    """In good order: what is cut off at the end of the server's patience is an error to its reader."""
    keepalive_every(3600.0, monkeypatch)
    person = people.person()
    async with served(api_settings) as server, follower(f"{server.url}/events/stream", person.bearer) as reader:
        await greeted(reader)
        server.server.should_exit = True
        assert await reader.until_end() == []


async def test_a_follower_that_does_not_read_is_given_up_and_costs_no_memory(
    server: Served, people: People, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sse, "SEND_TIMEOUT_S", 0.5)
    person = people.person()
    payload = json.dumps({"ids": ["x" * 20_000]})
    people.execute(
        "SELECT append_event(%s, %s, 'instance.updated', %s::jsonb) FROM generate_series(1, 2000)",
        f"organization/{person.organization_id}", person.organization_id, payload,
    )  # fmt: skip
    host, port = server.url.removeprefix("http://").split(":")
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect((host, int(port)))
        request = f"GET /events/stream HTTP/1.1\r\nhost: x\r\nx-api-key: {person.api_key}\r\nlast-event-id: 0\r\n\r\n"
        idle.sendall(request.encode())
        bells = server.state.event_feed._bells
        await until(lambda: len(bells) == 1)
        await until(lambda: not bells)


async def until(condition: object, within_s: float = GIVE_UP_S) -> None:
    assert callable(condition)
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_client_that_goes_leaves_nothing_behind(server: Served, people: People):
    person = people.person()
    bells = server.state.event_feed._bells
    async with follower(f"{server.url}/events/stream", person.bearer) as reader:
        await greeted(reader)
        await until(lambda: len(bells) == 1)
    await until(lambda: not bells)


async def test_a_lost_listener_costs_no_event(server: Served, people: People, database: TestDatabase):
    person = people.person()
    async with follower(f"{server.url}/events/stream", person.bearer) as reader:
        await greeted(reader)
        with psycopg.connect(database.admin, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'quarterdeck-listen-events'"
            )
        seqs = [append(people, person.organization_id) for _ in range(3)]
        assert [seen.id for _ in seqs if (seen := await reader.next())] == seqs


class Writer:
    """One of many that append at once, each holding its transaction open for a while, some giving up."""

    def __init__(self, database: TestDatabase, person: Person, name: int) -> None:
        self._url, self._person, self._name = database.worker, person, name

    async def write(self, events: int) -> int:
        """How many it committed."""
        stream, committed = f"organization/{self._person.organization_id}", 0
        async with await psycopg.AsyncConnection.connect(self._url) as connection:
            for number in range(events):
                await connection.execute(
                    "SELECT set_config('app.organization_id', %s, true)", (str(self._person.organization_id),)
                )
                await asyncio.sleep((self._name * 7 + number * 3) % 5 / 1000)
                await connection.execute(
                    APPEND, (stream, self._person.organization_id, "instance.updated", f'{{"ids": ["{self._name}"]}}')
                )
                await asyncio.sleep((self._name * 3 + number) % 4 / 1000)  # a slow commit
                if (self._name + number) % 10 == 0:
                    await connection.rollback()
                else:
                    await connection.commit()
                    committed += 1
        return committed


async def read_with_reconnects(url: str, person: Person, patience: int, written: asyncio.Future[int]) -> list[int]:
    """Every number seen by a client whose connection breaks after each `patience` events.

    Once it is known how many were written it waits for as many, and then for what would be one too many.
    """
    seen: list[int] = []
    after = 0
    while True:
        async with follower(url, person.bearer, after=after) as reader:
            await greeted(reader)
            for _ in range(patience):
                is_known = written.done()
                lacks_some = is_known and len(seen) < written.result()
                try:
                    event = await reader.next(timeout_s=GIVE_UP_S if lacks_some else 1)
                except TimeoutError:
                    if is_known:
                        return seen
                    break
                assert event is not None
                assert event.id is not None
                seen.append(event.id)
                after = event.id


async def test_fifty_writers_with_slow_commits_and_readers_that_reconnect_no_gap_no_repeat(
    server: Served, people: People, database: TestDatabase
):
    person, url = people.person(), f"{server.url}/events/stream"
    written = asyncio.get_running_loop().create_future()
    assert await server.state.identities.catch_up()
    readers = [asyncio.create_task(read_with_reconnects(url, person, patience, written)) for patience in (3, 17, 400)]
    async with asyncio.timeout(200):
        written.set_result(sum(await asyncio.gather(*(Writer(database, person, name).write(8) for name in range(50)))))
        everything = list(range(1, written.result() + 1))
        numbers = people.execute(
            "SELECT seq FROM events WHERE organization_id = %s ORDER BY seq", person.organization_id
        )
        assert [seq for (seq,) in numbers] == everything
        assert len(everything) > 300
        for seen in await asyncio.gather(*readers):
            assert seen == everything


async def test_one_principal_follows_so_many_streams_and_no_more(api_settings: Settings, people: People):
    person, other = people.person(), people.person()
    settings = api_settings.model_copy(update={"streams_per_principal": 2})
    async with served(settings) as server:
        url = f"{server.url}/events/stream"
        async with follower(url, person.bearer) as first, follower(url, person.bearer) as second:
            await greeted(first)
            await greeted(second)
            async with follower(url, person.bearer) as third:
                assert third.response.status_code == 429
                assert third.response.headers["content-type"] == "application/problem+json"
                assert int(third.response.headers["retry-after"]) >= 1
                assert json.loads(await third.response.aread())["code"] == "STREAM_LIMIT"
            async with follower(url, other.bearer) as theirs:
                await greeted(theirs)
        async with asyncio.timeout(GIVE_UP_S):
            while not await is_greeted(url, person):
                await asyncio.sleep(0.02)


async def is_greeted(url: str, person: Person) -> bool:
    async with follower(url, person.bearer) as reader:
        return reader.response.status_code == 200
