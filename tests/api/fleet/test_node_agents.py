"""Registration of node agents: who may have the credentials of an instance, and who may not."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from models.base.ids import new_id
from models.domain.fleet.instances.credentials import bootstrap_token, serving_key
from models.domain.identity.principal import Principal
from models.domain.identity.roles import Role
from models.repositories.database import Database
from models.repositories.fleet.instances import commands as instance_commands
from tests.api.conftest import People, RunningApi
from tests.api.fleet.rented import KEY, MODEL, Agent, Fleet
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase


@pytest.fixture
def fleet(people: People, database: TestDatabase) -> Fleet:
    return Fleet(people, database.owner)


@pytest.fixture
async def agent(api: RunningApi, fleet: Fleet) -> Agent:
    return Agent(api.client, fleet.instance())


async def test_registration_gives_what_the_agent_needs(agent: Agent, fleet: Fleet) -> None:
    answer = await agent.try_register()
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert body["bootstrap_token"].startswith("wk_")
    assert body["bootstrap_token_prefix"] == body["bootstrap_token"][:12]
    assert body["serving_key"] == serving_key(KEY, agent.instance_id, 1)
    assert body["heartbeat_interval_s"] == 4.0
    assert fleet.edges(agent.instance_id) == ["registered"]
    row = fleet.liveness(agent.instance_id)
    assert (row["worker_status"], row["boot_id"], row["generation"], row["is_stale"]) == (
        "starting",
        agent.boot_id,
        1,
        False,
    )
    assert row["agent_version"] == "1.2"
    stored = str(fleet.execute("SELECT * FROM worker_tokens"))
    assert body["bootstrap_token"] not in stored
    assert body["serving_key"] not in stored
    assert agent.nonce not in stored


async def test_the_same_nonce_gets_the_same_answer(agent: Agent, fleet: Fleet) -> None:
    first = await agent.register()
    assert await agent.register() == first
    assert await agent.register(first["bootstrap_token"]) == first
    assert fleet.edges(agent.instance_id) == ["registered"]


async def test_the_answer_may_be_asked_for_after_the_hour(agent: Agent, fleet: Fleet) -> None:
    first = await agent.register()
    fleet.execute("UPDATE worker_tokens SET bootstrap_expires_at = now() - interval '1 day'")
    assert await agent.register() == first


async def test_another_nonce_is_refused(agent: Agent) -> None:
    first = await agent.register()
    for token in (None, first["bootstrap_token"]):
        thief = await agent.try_register(token, nonce="n" * 32)
        assert (thief.status_code, thief.json()["code"]) == (401, "TOKEN_CONSUMED")
        assert first["bootstrap_token"] not in thief.text


async def test_an_expired_bootstrap_token_is_refused(api: RunningApi, fleet: Fleet) -> None:
    late = await Agent(api.client, fleet.instance(valid_for_s=-1)).try_register()
    assert (late.status_code, late.json()["code"]) == (401, "TOKEN_EXPIRED")


async def test_a_wrong_token_is_refused(agent: Agent) -> None:
    body = agent.identity() | {"nonce": agent.nonce}
    for token in (b"bt_wrong", b"x" * 10_000, b"\xe9t\xe9", b"wk_", b"\xff"):
        headers = [(b"authorization", b"Bearer " + token)]
        response = await agent.client.post("/internal/worker/register", json=body, headers=headers)
        assert response.status_code == 401, token


async def test_without_a_token_nothing_is_told(agent: Agent) -> None:
    unknown = agent.identity() | {"instance_id": str(new_id()), "nonce": agent.nonce}
    for route in ("register", "heartbeat"):
        assert (await agent.post(route, None, unknown)).status_code == 401
        assert (await agent.post(route, None, {})).status_code == 401


async def test_a_token_of_another_instance_is_refused(api: RunningApi, fleet: Fleet, agent: Agent) -> None:
    other = Agent(api.client, fleet.instance())
    assert (await agent.try_register(bootstrap_token(KEY, other.instance_id, 1))).status_code == 401
    await other.register()
    await agent.register()
    agent.token = other.token
    assert (await agent.try_beat()).status_code == 401


async def test_an_unknown_or_ended_instance_is_404(api: RunningApi, fleet: Fleet, agent: Agent) -> None:
    assert (await Agent(api.client, new_id()).try_register()).status_code == 404
    await agent.register()
    for status in ("terminated", "archived"):
        fleet.execute("UPDATE instances SET status = %s WHERE id = %s", status, agent.instance_id)
        response = await agent.try_register()
        assert (response.status_code, response.json()["code"]) == (404, "INSTANCE_NOT_FOUND")
        assert (await agent.try_beat()).status_code == 404


async def test_an_agent_may_announce_only_its_model(agent: Agent, fleet: Fleet) -> None:
    response = await agent.try_register(model_id="org/other")
    assert (response.status_code, response.json()["code"]) == (409, "MODEL_MISMATCH")
    await agent.register()
    response = await agent.try_beat(model_id="org/other")
    assert (response.status_code, response.json()["code"]) == (409, "MODEL_MISMATCH")
    assert fleet.liveness(agent.instance_id)["worker_model_id"] == MODEL


async def test_an_address_is_never_taken_from_an_agent(agent: Agent, fleet: Fleet) -> None:
    assert (await agent.try_register(ip_address="203.0.113.9", host="203.0.113.9")).status_code == 200
    await agent.register()
    await agent.beat(ip_address="203.0.113.9", endpoint_host="203.0.113.9")
    assert "203.0.113.9" not in str(fleet.execute("SELECT i, l FROM instances i JOIN instance_liveness l ON true"))


async def test_of_two_agents_with_one_token_one_wins(agent: Agent, fleet: Fleet) -> None:
    answers = await asyncio.gather(*(agent.try_register(nonce=f"nonce-{number:030}") for number in range(20)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 401, 409}
    assert fleet.edges(agent.instance_id) == ["registered"]


async def test_one_agent_that_asks_many_times_at_once_gets_one_answer(agent: Agent, fleet: Fleet) -> None:
    answers = await asyncio.gather(*(agent.try_register() for _ in range(20)))
    granted = {answer.json()["bootstrap_token"] for answer in answers if answer.status_code == 200}
    assert len(granted) == 1
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 409)
    assert fleet.edges(agent.instance_id) == ["registered"]


async def test_a_registration_meets_the_lock_of_another(agent: Agent, fleet: Fleet) -> None:
    with psycopg.connect(fleet.url) as connection:
        connection.execute("SELECT 1 FROM worker_tokens WHERE instance_id = %s FOR UPDATE", (agent.instance_id,))
        response = await agent.try_register()
    assert (response.status_code, response.json()["code"]) == (409, "TOKEN_ALREADY_EXISTS_OR_RACE")
    await agent.register()


async def test_a_new_generation_ends_the_old_one(agent: Agent, fleet: Fleet) -> None:
    first = await agent.register()
    await agent.beat(phase="serving")
    fleet.reinstall(agent.instance_id)
    assert (await agent.try_beat()).status_code == 401
    assert (await agent.try_register()).status_code == 401
    assert (await agent.try_register(first["bootstrap_token"])).status_code == 401
    renewed = Agent(agent.client, agent.instance_id, generation=2)
    second = await renewed.register()
    assert second["bootstrap_token"] != first["bootstrap_token"]
    assert second["serving_key"] != first["serving_key"]
    row = fleet.liveness(agent.instance_id)
    assert (row["generation"], row["worker_status"], row["phase"]) == (2, "starting", None)
    assert fleet.edges(agent.instance_id) == ["registered", "ready", "registered"]


async def test_a_revoked_token_is_refused(agent: Agent, fleet: Fleet) -> None:
    await agent.register()
    fleet.execute("UPDATE worker_tokens SET revoked_at = now()")
    assert (await agent.try_beat()).status_code == 401
    assert (await agent.try_register()).status_code == 401


async def test_an_agent_registers_while_a_command_holds_its_instance(
    agent: Agent, fleet: Fleet, people: People, database: TestDatabase
) -> None:
    """The agent's rows refer to the instance. If each waited for the other's lock, PostgreSQL would have to end one of them."""
    person = people.person(organization_id=fleet.organization_id)
    operator = Principal(person.user_id, fleet.organization_id, Role.OWNER)
    fleet.execute("UPDATE instances SET create_attempted_at = now()")
    commands = Database(database.api, pool_size=1)
    async with commands.tenant(fleet.organization_id) as session:
        await instance_commands.terminate(session, operator, agent.instance_id)
        async with asyncio.timeout(GIVE_UP_S):
            await agent.register()
    await commands.close()
