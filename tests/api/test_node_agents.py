"""Node agents: who may register, what a heartbeat changes, and what an instance's owner hears of it."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from models.base.clock import utc_now
from models.base.ids import new_id
from models.domain.instances.credentials import bootstrap_token, serving_key
from models.domain.keys import decode_installation_key, fingerprint
from tests.api.conftest import INSTALLATION_KEY, People, RunningApi
from tests.servers import TestDatabase

KEY = decode_installation_key(INSTALLATION_KEY)
MODEL = "org/model-1"


class Fleet:
    """Instances put into the database as their owners would have left them."""

    def __init__(self, people: People, url: str) -> None:
        self.execute = people.execute
        self.url = url
        self.organization_id = people.organization()
        self.provider_id, self.model_id = new_id(), new_id()
        self.execute(
            "INSERT INTO providers (id, code, name, is_active, has_adapter) VALUES (%s, 'mock', 'Mock', true, true)",
            self.provider_id,
        )
        self.execute(
            "INSERT INTO models (id, code, name, model_id, required_vram_gb, context_length, is_active, extra) "
            "VALUES (%s, 'model-1', 'Model 1', %s, 1, 2048, true, '{}')",
            self.model_id,
            MODEL,
        )

    def instance(self, *, status: str = "booting", generation: int = 1, valid_for_s: float = 3600) -> UUID:
        instance_id = new_id()
        self.execute(
            "INSERT INTO instances (id, organization_id, provider_id, model_id, status, desired_status, version, generation, "
            "boot_count, completed_steps, provider_code, price_source, billing_increment_s, billing_minimum_s, on_unavailable, "
            "is_archived, deleted_by_provider, heal_attempts) VALUES (%s, %s, %s, %s, %s, 'ready', 0, %s, 1, '[]', 'mock', "
            "'catalog', 1, 0, 'restart_agent', false, false, 0)",
            instance_id, self.organization_id, self.provider_id, self.model_id, status, generation,
        )  # fmt: skip
        self.token(instance_id, generation, valid_for_s=valid_for_s)
        return instance_id

    def token(self, instance_id: UUID, generation: int, *, valid_for_s: float = 3600) -> None:
        self.execute(
            "INSERT INTO worker_tokens (id, organization_id, instance_id, generation, bootstrap_hash, bootstrap_expires_at) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            new_id(), self.organization_id, instance_id, generation,
            fingerprint(bootstrap_token(KEY, instance_id, generation)), utc_now() + timedelta(seconds=valid_for_s),
        )  # fmt: skip

    def reinstall(self, instance_id: UUID) -> None:
        [(generation,)] = self.execute(
            "UPDATE instances SET generation = generation + 1 WHERE id = %s RETURNING generation", instance_id
        )
        assert isinstance(generation, int)
        self.token(instance_id, generation)

    def liveness(self, instance_id: UUID) -> dict[str, Any]:
        [row] = self.execute("SELECT to_jsonb(l) FROM instance_liveness l WHERE instance_id = %s", instance_id)
        return dict(row[0])  # type: ignore[call-overload]

    def edges(self, instance_id: UUID) -> list[str]:
        rows = self.execute(
            "SELECT payload ->> 'edge' FROM outbox WHERE workflow_id = %s ORDER BY created_at, id",
            f"instance/{instance_id}",
        )
        return [str(edge) for (edge,) in rows]


@dataclass
class Agent:
    """A node agent as the protocol describes it."""

    client: httpx.AsyncClient
    instance_id: UUID
    generation: int = 1
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    boot_id: str = field(default_factory=lambda: secrets.token_hex(8))
    token: str = ""

    async def post(self, route: str, token: str | None, body: dict[str, Any]) -> httpx.Response:
        headers = {"content-type": "application/json"} | (
            {"authorization": f"Bearer {token}"} if token is not None else {}
        )
        return await self.client.post(f"/internal/worker/{route}", content=json.dumps(body), headers=headers)

    def identity(self) -> dict[str, Any]:
        return {"instance_id": str(self.instance_id), "worker_id": "node-1", "boot_id": self.boot_id, "model_id": MODEL}

    async def try_register(self, token: str | None = None, **changes: Any) -> httpx.Response:
        body = self.identity() | {"nonce": self.nonce, "metadata": {"agent_version": "1.2"}} | changes
        return await self.post("register", token or bootstrap_token(KEY, self.instance_id, self.generation), body)

    async def register(self, token: str | None = None) -> dict[str, Any]:
        answer = await self.try_register(token)
        assert answer.status_code == 200, answer.text
        self.token = answer.json()["bootstrap_token"]
        return dict(answer.json())

    async def try_beat(self, status: str = "ready", **changes: Any) -> httpx.Response:
        body = self.identity() | {"status": status, "slots_total": 2, "slots_busy": 1, "queue_depth": 0} | changes
        return await self.post("heartbeat", self.token, body)

    async def beat(self, status: str = "ready", **changes: Any) -> None:
        answer = await self.try_beat(status, **changes)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"status": "ok"}


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
        headers = {"authorization": b"Bearer " + token}
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


async def test_only_changes_reach_the_owner(agent: Agent, fleet: Fleet) -> None:
    await agent.register()
    for phase in ("preparing", "preparing", "loading_model", "loading_model", "warming_up"):
        await agent.beat("starting", phase=phase)
    for _ in range(3):
        await agent.beat("ready", phase="serving")
    await agent.beat("draining", phase="serving")
    await agent.beat("draining", phase="serving")
    assert fleet.edges(agent.instance_id) == ["registered", "phase", "phase", "phase", "ready", "draining"]


async def test_a_heartbeat_without_an_edge_notifies_nobody(agent: Agent, fleet: Fleet) -> None:
    await agent.register()
    await agent.beat(phase="serving")
    with psycopg.connect(fleet.url, autocommit=True) as listener:
        listener.execute("LISTEN outbox")
        for _ in range(5):
            await agent.beat(phase="serving")
        assert list(listener.notifies(timeout=0.2)) == []
        await agent.beat("draining", phase="serving")
        assert len(list(listener.notifies(timeout=2, stop_after=1))) == 1


async def test_an_edge_names_the_instance_the_boot_and_the_generation(agent: Agent, fleet: Fleet) -> None:
    await agent.register()
    await agent.beat("ready", phase="serving")
    rows = fleet.execute(
        "SELECT organization_id, kind, workflow, workflow_id, payload, attempts, delivered_at FROM outbox"
    )
    for organization_id, kind, workflow, workflow_id, payload, attempts, delivered_at in rows:
        assert isinstance(payload, dict)
        edge = payload.pop("edge")
        assert edge in {"registered", "ready"}
        assert (organization_id, kind, workflow, workflow_id, attempts, delivered_at) == (
            fleet.organization_id, "observed", "Instance", f"instance/{agent.instance_id}", 0, None,
        )  # fmt: skip
        assert payload == {
            "instance_id": str(agent.instance_id),
            "organization_id": str(fleet.organization_id),
            "boot_id": agent.boot_id,
            "generation": 1,
        }


async def test_a_new_process_of_the_agent_is_a_reboot(agent: Agent, fleet: Fleet) -> None:
    await agent.register()
    await agent.beat("ready", phase="serving")
    agent.boot_id = "second"
    await agent.register(agent.token)
    row = fleet.liveness(agent.instance_id)
    assert (row["worker_status"], row["phase"], row["boot_id"]) == ("starting", None, "second")
    await agent.beat("starting", phase="preparing")
    await agent.beat("ready", phase="serving")
    assert fleet.edges(agent.instance_id) == ["registered", "ready", "rebooted", "phase", "ready"]


async def test_a_reboot_that_shows_first_in_a_heartbeat(agent: Agent, fleet: Fleet) -> None:
    await agent.register()
    await agent.beat("ready", phase="serving")
    agent.boot_id = "second"
    await agent.beat("ready", phase="serving")
    assert fleet.edges(agent.instance_id) == ["registered", "ready", "rebooted", "ready"]


async def test_a_silent_agent_comes_back(agent: Agent, fleet: Fleet) -> None:
    await agent.register()
    await agent.beat("ready", phase="serving")
    fleet.execute("UPDATE instance_liveness SET is_stale = true, last_heartbeat_at = now() - interval '5 minutes'")
    await agent.beat("ready", phase="serving")
    await agent.beat("ready", phase="serving")
    assert fleet.edges(agent.instance_id) == ["registered", "ready", "came_back"]
    assert fleet.liveness(agent.instance_id)["is_stale"] is False


async def test_figures_are_kept_within_their_bounds(agent: Agent, fleet: Fleet) -> None:
    await agent.register()
    gpus = [
        {"index": 0, "gpu_utilization": 250, "gpu_mem_used_mb": 9e9, "gpu_mem_total_mb": 24576, "gpu_temp_c": 900,
         "gpu_power_w": -5, "gpu_power_limit_w": 72},
        {"index": 1, "gpu_utilization": -3, "gpu_temp_c": -300},
        {"index": 1, "gpu_utilization": 7},
    ]  # fmt: skip
    system = {"cpu_usage_pct": 400.5, "load1": -1, "mem_used_bytes": 5000, "mem_total_bytes": 1000, "net_rx_bps": 12.7}
    await agent.beat(metadata={"gpus": gpus, "system": system, "note": "kept"})
    rows = fleet.execute(
        "SELECT gpu_index, gpu_utilization, vram_used_mb, vram_total_mb, temp_c, power_w, power_limit_w FROM gpu_samples "
        "ORDER BY gpu_index"
    )
    assert rows == [(0, 100, 24576, 24576, 150, 0, 72), (1, 0, None, None, -50, None, None)]
    assert fleet.execute(
        "SELECT cpu_usage_pct, load1, mem_used_bytes, mem_total_bytes, disk_used_bytes, net_rx_bps, slots_busy, queue_depth "
        "FROM system_samples"
    ) == [(100, 0, 1000, 1000, None, 12, 1, 0)]
    assert fleet.liveness(agent.instance_id)["report"] == {"gpus": gpus, "system": system, "note": "kept"}


async def test_gpus_may_be_summed_up_or_absent(agent: Agent, fleet: Fleet) -> None:
    await agent.register()
    await agent.beat(gpu_utilization=40.0, gpu_mem_used_mb=100.0)
    assert fleet.execute("SELECT gpu_index, gpu_utilization, vram_used_mb FROM gpu_samples") == [(0, 40, 100)]
    await agent.beat(gpu_utilization=40.0, metadata={"gpus": []})
    assert fleet.execute("SELECT count(*) FROM gpu_samples") == [(1,)]
    assert fleet.execute("SELECT count(*) FROM system_samples") == [(0,)]


BAD_HEARTBEATS: list[dict[str, Any]] = [
    {"status": "dancing"},
    {"status": None},
    {"phase": "lunch"},
    {"instance_id": "nope"},
    {"queue_depth": -1},
    {"queue_depth": 10**12},
    {"slots_busy": 1.5},
    {"boot_id": ""},
    {"boot_id": "b" * 201},
    {"boot_id": "nul\0"},
    {"boot_id": "\ud800"},
    {"metadata": []},
    {"metadata": {"gpus": {}}},
    {"metadata": {"gpus": [{"gpu_utilization": 1}]}},
    {"metadata": {"gpus": [{"index": n} for n in range(65)]}},
    {"metadata": {"system": {"load1": "high"}}},
    {"metadata": {"text": "x" * 17_000}},
    {"metadata": {"text": "nul\0"}},
    {"metadata": {"number": 2**70}},
    {"metadata": {"\0": 1}},
    {"gpu_utilization": 10**400},
]


async def test_a_bad_heartbeat_is_refused_and_changes_nothing(agent: Agent, fleet: Fleet) -> None:
    await agent.register()
    before = fleet.liveness(agent.instance_id)
    for changes in BAD_HEARTBEATS:
        response = await agent.try_beat(**changes)
        assert response.status_code == 422, (str(changes)[:200], response.text)
        assert response.json()["code"] == "INVALID_REQUEST"
    for number in ("NaN", "Infinity", "-Infinity", "1e999", "1" * 5000):
        body = f'{{"instance_id": "{agent.instance_id}", "status": "ready", "gpu_utilization": {number}}}'
        headers = {"authorization": f"Bearer {agent.token}", "content-type": "application/json"}
        response = await agent.client.post("/internal/worker/heartbeat", content=body, headers=headers)
        assert response.status_code in {400, 422}, number
    assert fleet.liveness(agent.instance_id) == before


async def test_strangers_in_the_batch_do_not_harm_it(api: RunningApi, fleet: Fleet) -> None:
    agents = [Agent(api.client, fleet.instance()) for _ in range(5)]
    for agent in agents:
        await agent.register()
    stranger = Agent(api.client, agents[0].instance_id, token="wk_forged")
    nobody = Agent(api.client, new_id(), token="wk_forged")
    answers = await asyncio.gather(
        *(agent.try_beat(phase="serving") for agent in agents),
        *(stranger.try_beat("draining", boot_id="forged") for _ in range(5)),
        *(nobody.try_beat() for _ in range(5)),
    )
    assert [answer.status_code for answer in answers] == [200] * 5 + [401] * 5 + [404] * 5
    assert fleet.liveness(agents[0].instance_id)["worker_status"] == "ready"
    assert all(fleet.edges(agent.instance_id) == ["registered", "ready"] for agent in agents)


async def test_two_heartbeats_of_one_agent_at_once_are_both_heard(agent: Agent, fleet: Fleet) -> None:
    await agent.register()
    first = asyncio.create_task(agent.try_beat("starting", phase="warming_up"))
    second = asyncio.create_task(agent.try_beat("ready", phase="serving"))
    assert [(await task).status_code for task in (first, second)] == [200, 200]
    assert fleet.edges(agent.instance_id) == ["registered", "phase", "ready"]
    assert fleet.liveness(agent.instance_id)["worker_status"] == "ready"


async def test_the_answer_comes_after_the_commit(agent: Agent, fleet: Fleet) -> None:
    await agent.register()
    with psycopg.connect(fleet.url) as connection:
        connection.execute("SELECT 1 FROM instance_liveness WHERE instance_id = %s FOR UPDATE", (agent.instance_id,))
        beating = asyncio.create_task(agent.try_beat("ready", phase="serving"))
        done, _ = await asyncio.wait([beating], timeout=0.5)
        assert not done
    assert (await beating).status_code == 200
    assert fleet.liveness(agent.instance_id)["worker_status"] == "ready"


async def test_two_api_processes_report_an_edge_once(agent: Agent, fleet: Fleet) -> None:
    """Both compare with the stored row: the second one waits for the first, and then sees what it wrote."""
    await agent.register()
    entry = {"ordinal": 0, "instance_id": str(agent.instance_id), "token_hash": fingerprint(agent.token),
             "status": "ready", "phase": "serving", "boot_id": agent.boot_id, "report": {}}  # fmt: skip

    def record() -> None:
        with psycopg.connect(fleet.url) as connection:
            connection.execute("SELECT record_heartbeats(%s)", (Jsonb([entry]),))

    await asyncio.gather(*(asyncio.to_thread(record) for _ in range(8)))
    assert fleet.edges(agent.instance_id) == ["registered", "ready"]


async def test_the_worker_role_may_not_speak_for_agents(database: TestDatabase) -> None:
    with psycopg.connect(database.worker) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT record_heartbeats('[]')")
