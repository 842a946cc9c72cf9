"""Heartbeats: what one changes, what an instance's owner hears of it, and what cannot get in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from api.node_agents.boots import MOST_BOOTS
from models.base.clock import utc_now
from models.base.ids import new_id
from models.domain.keys import fingerprint
from models.repositories import pulse
from models.repositories.database import Database
from models.repositories.fleet.beats import BEAT
from models.repositories.fleet.samples import ensure_partitions, roll_up
from models.settings import Settings
from tests.api.conftest import People, RunningApi, running_api
from tests.api.fleet.rented import Agent, Fleet
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase


@pytest.fixture
def fleet(people: People, database: TestDatabase) -> Fleet:
    return Fleet(people, database.owner)


@pytest.fixture
async def worker_database(database: TestDatabase) -> AsyncIterator[Database]:
    connected = Database(database.worker, pool_size=1)
    yield connected
    await connected.close()


@pytest.fixture
async def agent(api: RunningApi, fleet: Fleet) -> Agent:
    return Agent(api.client, fleet.instance())


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
        assert len(list(listener.notifies(timeout=GIVE_UP_S, stop_after=1))) == 1


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


ABSURD = 1.5e308
"""Two of these have a sum that is no number: one agent that sends them would end the averages of all."""


async def test_no_figure_is_beyond_what_can_be_averaged(agent: Agent, fleet: Fleet, worker_database: Database) -> None:
    await agent.register()
    gpu = {"gpu_mem_used_mb": ABSURD, "gpu_mem_total_mb": ABSURD, "gpu_power_w": ABSURD, "gpu_power_limit_w": ABSURD}
    names = (
        "cpu_usage_pct",
        "load1",
        "mem_used_bytes",
        "mem_total_bytes",
        "disk_used_bytes",
        "net_rx_bps",
        "net_tx_bps",
    )
    reports: list[dict[str, Any]] = [
        {"metadata": {"system": dict.fromkeys(names, ABSURD), "gpus": [{"index": 0} | gpu, {"index": 1, "gpu_temp_c": ABSURD}]}},
        {"gpu_utilization": ABSURD, "gpu_mem_used_mb": ABSURD, "metadata": {"system": {"load1": ABSURD}}},
    ]  # fmt: skip
    for _ in range(3):
        for report in reports:
            await agent.beat(**report)
    assert fleet.execute("SELECT count(*) FROM gpu_samples") == [(9,)]
    soon = utc_now() + timedelta(minutes=1)
    assert await roll_up(worker_database, now=soon) > 0
    await ensure_partitions(worker_database, now=soon + timedelta(hours=2))


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


async def test_that_heartbeats_are_taken_is_noted_without_gaps(
    fleet: Fleet, api_settings: Settings, database: TestDatabase
) -> None:
    """Who judges an agent's silence asks for it: from when to when somebody listened."""
    fleet.execute("INSERT INTO installation (id) VALUES (%s)", new_id())
    async with running_api(api_settings), asyncio.timeout(GIVE_UP_S):
        while not (noted := fleet.execute("SELECT intake_since, intake_seen_at FROM installation"))[0][0]:
            await asyncio.sleep(0.02)
    assert noted[0][0] == noted[0][1]
    intake = Database(database.api, pool_size=1)
    for away_s, is_gap in ((14, False), (16, True)):
        fleet.execute("UPDATE installation SET intake_since = now() - interval '1 hour'")
        fleet.execute("UPDATE installation SET intake_seen_at = now() - make_interval(secs => %s)", away_s)
        async with intake.system() as session:
            await pulse.beat(session, BEAT)
        [(is_new,)] = fleet.execute("SELECT intake_since > now() - interval '1 minute' FROM installation")
        assert is_new is is_gap
    await intake.close()


async def test_an_agent_that_comes_up_again_and_again_is_told_to_wait(agent: Agent, fleet: Fleet) -> None:
    await agent.register()
    statuses = []
    for number in range(MOST_BOOTS + 5):
        answer = await agent.try_beat(boot_id=f"boot-{number}")
        statuses.append(answer.status_code)
    assert statuses == [200] * (MOST_BOOTS - 1) + [429] * 6
    assert (answer.json()["code"], int(answer.headers["retry-after"]) >= 1) == ("BOOT_LIMIT", True)
    assert fleet.edges(agent.instance_id).count("rebooted") == MOST_BOOTS - 1
    assert (await agent.try_beat(boot_id=f"boot-{MOST_BOOTS - 2}")).status_code == 200
    agent.boot_id = "one-more"
    assert (await agent.try_register()).status_code == 429


async def test_a_stranger_uses_up_nobodys_boots(agent: Agent, api: RunningApi) -> None:
    await agent.register()
    stranger = Agent(api.client, agent.instance_id, token="wk_forged")
    for number in range(MOST_BOOTS * 2):
        assert (await stranger.try_beat(boot_id=f"boot-{number}")).status_code == 401
    assert (await agent.try_beat(boot_id="another")).status_code == 200
