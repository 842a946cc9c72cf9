"""A pool that rows locked by others have used up keeps nothing from its work that does not need it (decision 63)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import psycopg
import pytest
from sqlalchemy import text

from api.databases import Databases
from models.base.ids import new_id
from models.repositories.identity.session_limits import OF_ROLE, SessionLimits
from models.settings import Settings
from models.settings.derived import DatabaseRole
from tests.api.conftest import PASSWORD, People, Person, RunningApi, running_api
from tests.api.fleet.rented import Agent, Fleet
from tests.factories.rows import Rows
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase

REQUESTS = 30
OF_A_FAMILY, OF_ONE_ORGANIZATION = 8, 6
"""Of the ten connections of requests: what a family may have while no other uses any, and what of these one organization may have."""
HANG_S = 600.0
"""Instead of 5 s: nothing of what is seen here is for a lock that was given up."""
WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = %s AND wait_event_type = 'Lock'"
)


@pytest.fixture
async def api(api_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningApi]:
    monkeypatch.setattr("api.databases.OF_ROLE", {DatabaseRole.API: SessionLimits(lock_wait_s=HANG_S)})
    async with running_api(api_settings) as running:
        yield running


@pytest.fixture
def fleet(people: People, database: TestDatabase) -> Fleet:
    return Fleet(people, database.owner)


@contextmanager
def locked(database: TestDatabase, statement: str, *values: object) -> Iterator[None]:
    """Another session holds the rows."""
    with psycopg.connect(database.owner) as holder:
        assert holder.execute(statement, values).fetchall()
        yield
        holder.rollback()


async def until_waiting(database: TestDatabase, purpose: str, connections: int) -> None:
    with psycopg.connect(database.admin, autocommit=True) as admin:
        async with asyncio.timeout(GIVE_UP_S):
            while admin.execute(WAITING, [f"quarterdeck-api-{purpose}"]).fetchone() != (connections,):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def hanging(api: RunningApi, database: TestDatabase, *people: Person) -> AsyncIterator[None]:
    """30 requests, of these people in turn, are under way for keys that another session has locked; they end with the block."""
    keys = [(person, await made_key(api, person)) for person in people]
    with locked(database, "SELECT id FROM api_keys WHERE id = ANY(%s::uuid[]) FOR UPDATE", [key for _, key in keys]):
        requests = [asyncio.create_task(rename(api, *keys[number % len(keys)])) for number in range(REQUESTS)]
        try:
            yield
        finally:
            for request in requests:
                request.cancel()
            await asyncio.gather(*requests, return_exceptions=True)


async def made_key(api: RunningApi, person: Person) -> str:
    answer = await api.client.post("/api_keys", json={"name": "x"}, headers=person.bearer)
    return str(answer.json()["key"]["id"])


async def rename(api: RunningApi, person: Person, key: str) -> int:
    return (await api.client.put(f"/api_keys/{key}", json={"name": "y"}, headers=person.bearer)).status_code


async def sign_in(api: RunningApi, person: Person) -> int:
    body = {"email": person.email, "password": PASSWORD}
    return (await api.client.post("/auth/login", json=body)).status_code


@asynccontextmanager
async def rest_held(api: RunningApi) -> AsyncIterator[None]:
    """Nothing of the pool is left to requests, whoever answers them."""
    size = api.state.settings.database_pool_size
    async with AsyncExitStack() as stack:
        for _ in range(size - OF_A_FAMILY):
            session = await stack.enter_async_context(api.state.databases.requests.system())
            await session.execute(text("SELECT 1"))
        yield


async def test_what_needs_no_request_goes_on_while_requests_hold_every_connection(
    api: RunningApi, people: People, database: TestDatabase, fleet: Fleet
) -> None:
    hung, known = [people.person() for _ in range(2)], people.person()
    agent, new = Agent(api.client, fleet.instance()), fleet.instance()
    people.execute("INSERT INTO installation (id) VALUES (%s)", new_id())
    await agent.register()
    async with hanging(api, database, *hung):
        await until_waiting(database, "requests", OF_A_FAMILY)
        async with rest_held(api):
            await agent.beat(phase="serving")
            await Agent(api.client, new).register()
            assert (await api.client.get("/health")).status_code == 200
            for key in (known, people.person()):
                assert (await api.client.get("/v1/models", headers=key.bearer)).status_code == 200
            people.execute("UPDATE installation SET intake_seen_at = NULL")
            async with asyncio.timeout(GIVE_UP_S):
                while people.execute("SELECT intake_seen_at FROM installation") == [(None,)]:
                    await asyncio.sleep(0.05)  # the pulse
            await until_waiting(database, "requests", OF_A_FAMILY)


async def test_one_organization_never_has_every_connection(
    api: RunningApi, people: People, database: TestDatabase
) -> None:
    hung, beside = people.person(), people.person()
    key = await made_key(api, beside)
    async with hanging(api, database, hung):
        await until_waiting(database, "requests", OF_ONE_ORGANIZATION)
        assert await rename(api, beside, key) == 200
        assert await sign_in(api, beside) == 200
        await until_waiting(database, "requests", OF_ONE_ORGANIZATION)


@pytest.mark.usefixtures("fleet")
async def test_one_family_never_has_every_connection(api: RunningApi, people: People, database: TestDatabase) -> None:
    """Two organizations wait for keys, as many requests as may; what others answer, to the same people, is answered."""
    hung = [people.person() for _ in range(2)]
    rows = Rows(database)
    for person in hung:
        rows.machine(person.organization_id)
    rows.close()
    async with hanging(api, database, *hung):
        await until_waiting(database, "requests", OF_A_FAMILY)
        for person in hung:
            listed = await api.client.get("/instances", headers=person.bearer)
            assert listed.status_code == 200, listed.text
            [instance_id] = [one["id"] for one in listed.json()]
            read = await api.client.get(f"/instances/{instance_id}", headers=person.bearer)
            assert read.status_code == 200, read.text
            ended = await api.client.delete(f"/instances/{instance_id}", headers=person.bearer)
            assert ended.status_code == 202, ended.text
            operation = await api.client.get(ended.headers["location"], headers=person.bearer)
            assert operation.json()["status"] == "pending", operation.text
        await until_waiting(database, "requests", OF_A_FAMILY)


async def test_an_agent_whose_row_is_held_keeps_no_heartbeat_of_another_back(
    api: RunningApi, database: TestDatabase, fleet: Fleet
) -> None:
    agents = [Agent(api.client, fleet.instance()) for _ in range(4)]
    for agent in agents:
        await agent.register()
    held, *others = agents
    with locked(database, "SELECT 1 FROM instance_liveness WHERE instance_id = %s FOR UPDATE", held.instance_id):
        answers = await asyncio.gather(*(agent.try_beat(phase="serving") for agent in agents))
        assert [answer.status_code for answer in answers] == [503, 200, 200, 200]
        assert (answers[0].json()["code"], answers[0].headers["retry-after"]) == ("DATABASE_BUSY", "2")
    for agent in others:
        assert fleet.edges(agent.instance_id) == ["registered", "ready"]
    assert fleet.edges(held.instance_id) == ["registered"]
    await held.beat(phase="serving")
    assert fleet.edges(held.instance_id) == ["registered", "ready"]


@pytest.fixture
async def limited(api_settings: Settings) -> AsyncIterator[Databases]:
    databases = Databases.of(api_settings)
    yield databases
    await databases.close()


async def test_every_connection_says_what_it_is_for_and_has_the_limits_of_its_role(limited: Databases) -> None:
    shown = {}
    for database in vars(limited).values():
        async with database.system() as session:
            asked = "SELECT current_setting('application_name'), current_setting('lock_timeout'), current_setting('statement_timeout')"
            name, lock, statement = (await session.execute(text(asked))).one()
            shown[name] = (lock, statement)
    assert shown == {
        f"quarterdeck-api-{purpose}": ("5s", "30s")
        for purpose in ("requests", "signs-of-life", "agents", "inference", "upkeep")
    }
    assert OF_ROLE[DatabaseRole.API] == SessionLimits(lock_wait_s=5.0, statement_s=30.0)


async def test_no_process_has_more_connections_than_documented(limited: Databases, api_settings: Settings) -> None:
    every = vars(limited).values()
    most = sum(database._pool_size for database in every) + limited.requests._pool_size
    listeners = 4
    assert most + listeners == 2 * api_settings.database_pool_size + 13
