"""The agents of simulated machines, as their control plane sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.control_plane import ControlPlane, running_control_plane, worker_token
from tests.simcloud.cloud_process import CloudProcess
from tests.simcloud.conftest import MODEL
from tests.simcloud.waiting import until

Order = Callable[..., dict[str, Any]]
UserData = Callable[..., str]
PHASES = ["preparing", "loading_model", "warming_up", "serving"]


def create(cloud: CloudProcess, order: Order, user_data: str) -> str:
    return str(cloud.post("/v1/instances", **order(user_data=user_data))["id"])


def agent_of(cloud: CloudProcess, machine_id: str) -> dict[str, Any]:
    response = cloud.http.get(f"{cloud.url}/sim/instances/{machine_id}/agent")
    return dict(response.json()) if response.is_success else {}


async def serving(cloud: CloudProcess, machine_id: str) -> None:
    await until(lambda: agent_of(cloud, machine_id).get("phase") == "serving")


async def test_registers_and_reports_every_phase_at_once(
    shared_cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData
) -> None:
    plane.interval_s = 3600.0
    machine = create(shared_cloud, order, user_data(plane, "i1"))
    await until(lambda: any(beat.body["phase"] == "serving" for beat in plane.beats))
    (registered,) = plane.registered
    assert registered.token == "bootstrap-i1-1"
    assert registered.body["model_id"] == MODEL
    assert registered.body["vllm_port"] == shared_cloud.port
    assert {"worker_id", "nonce", "boot_id", "health_port", "metadata"} <= set(registered.body)
    phases = [beat.body["phase"] for beat in plane.beats]
    assert phases == PHASES
    assert [beat.body["status"] for beat in plane.beats] == ["starting"] * 3 + ["ready"]
    last = plane.beats[-1]
    assert last.token == worker_token("i1")
    assert (last.body["slots_total"], last.body["slots_busy"], last.body["queue_depth"]) == (2, 0, 0)
    assert last.body["boot_id"] == registered.body["boot_id"]
    assert {"mem_total_bytes", "cpu_usage_pct", "net_rx_bps"} <= set(last.body["metadata"]["system"])
    assert agent_of(shared_cloud, machine)["state"] == "running"


async def test_goes_on_as_the_same_agent_after_the_cloud_was_killed(
    cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData
) -> None:
    machine = create(cloud, order, user_data(plane, "i1"))
    await serving(cloud, machine)
    before = plane.registered[0].body
    cloud.kill()
    cloud.start()
    await until(lambda: len(plane.registered) == 2)
    after = plane.registered[1]
    assert after.token == worker_token("i1")
    assert (after.body["worker_id"], after.body["nonce"]) == (before["worker_id"], before["nonce"])
    assert after.body["boot_id"] != before["boot_id"]
    await until(lambda: plane.beats[-1].body["boot_id"] == after.body["boot_id"])


async def test_killed_before_register_was_answered_it_repeats_the_nonce(
    cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData
) -> None:
    plane.answer_with(503)
    create(cloud, order, user_data(plane, "i1"))
    await until(lambda: len(plane.attempts) > 1)
    cloud.kill()
    plane.answer_with(200)
    cloud.start()
    await until(lambda: plane.registered)
    assert len({attempt.body["nonce"] for attempt in plane.attempts}) == 1
    assert len({attempt.body["boot_id"] for attempt in plane.attempts}) == 2
    assert {attempt.token for attempt in plane.attempts} == {"bootstrap-i1-1"}


async def test_a_worker_token_that_is_no_longer_taken_gives_way_to_the_bootstrap_token(
    cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData
) -> None:
    machine = create(cloud, order, user_data(plane, "i1"))
    await serving(cloud, machine)
    cloud.kill()
    plane.revoked.add("i1")
    cloud.start()
    await until(lambda: len(plane.registered) == 2)
    assert [attempt.token for attempt in plane.attempts[1:]] == [worker_token("i1"), "bootstrap-i1-1"]
    assert plane.attempts[-1].body["nonce"] == plane.attempts[0].body["nonce"]


async def test_one_whose_heartbeat_is_refused_registers_again(
    shared_cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData
) -> None:
    """Its control plane is of a time before it registered: only the bootstrap token is known there."""
    machine = create(shared_cloud, order, user_data(plane, "i1"))
    await serving(shared_cloud, machine)
    plane.revoked.add("i1")
    await until(lambda: len(plane.registered) == 2)
    assert [attempt.token for attempt in plane.attempts[1:]] == [worker_token("i1"), "bootstrap-i1-1"]
    assert len({attempt.body["boot_id"] for attempt in plane.attempts}) == 1, "it has not started anew"
    heard = len(plane.beats)
    await until(lambda: len(plane.beats) > heard)
    assert plane.beats[-1].body["status"] == "ready"
    assert agent_of(shared_cloud, machine)["state"] == "running"


@pytest.mark.parametrize("why", ["ended", "unheard"])
async def test_a_refused_heartbeat_ends_the_agent(
    shared_cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData, why: str
) -> None:
    """For good where it may not register any more, or is refused right after that."""
    machine = create(shared_cloud, order, user_data(plane, "i1"))
    await serving(shared_cloud, machine)
    getattr(plane, why).add("i1")
    await until(lambda: agent_of(shared_cloud, machine)["state"] == "exited")
    heard = plane.requests
    await asyncio.sleep(0.8)
    assert plane.requests == heard


async def test_a_token_that_is_not_taken_ends_the_agent_and_a_restart_brings_it_back(
    shared_cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData
) -> None:
    machine = create(shared_cloud, order, user_data(plane, "i1", bootstrap_token="not-a-token"))
    await until(lambda: agent_of(shared_cloud, machine).get("state") == "exited")
    assert plane.requests == 1
    shared_cloud.post(f"/v1/instances/{machine}/restart-agent", user_data=user_data(plane, "i1"))
    await serving(shared_cloud, machine)


async def test_an_absent_control_plane_is_not_hammered_and_missed_for_long(
    shared_cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData
) -> None:
    machines = [create(shared_cloud, order, user_data(plane, f"i{number}")) for number in range(10)]
    for machine in machines:
        await serving(shared_cloud, machine)
    async with running_control_plane() as other:  # whose agent, which is answered, says how much time has passed
        await serving(shared_cloud, create(shared_cloud, order, user_data(other, "answered")))
        plane.answer_with(503)
        before, others_before = plane.requests, other.requests
        await until(lambda: other.requests - others_before >= 7)
        tried, beats = plane.requests - before, other.requests - others_before
    assert 7 * tried <= 10 * 5 * beats, "an agent tried more often than its back-off allows"
    plane.answer_with(200)
    beaten = len(plane.beats)
    await until(lambda: len({beat.body["instance_id"] for beat in plane.beats[beaten:]}) == 10)


@pytest.mark.parametrize("interval_s", [0, -1, 0.000001, "soon", None])
async def test_an_interval_that_makes_no_sense_does_not_make_it_hammer(
    shared_cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData, interval_s: Any
) -> None:
    """It beats no oftener than the one beside it, whose interval is the shortest that there is."""
    plane.interval_s = interval_s
    async with running_control_plane() as other:
        other.interval_s = 0.1
        for each, name in ((plane, "i1"), (other, "i2")):
            machine = create(shared_cloud, order, user_data(each, name, heartbeat_interval_s=0.000001))
            await serving(shared_cloud, machine)
        before, others_before = plane.requests, other.requests
        await until(lambda: other.requests - others_before >= 10 and plane.requests > before)
        assert plane.requests - before <= 2 * (other.requests - others_before)


async def test_a_control_plane_that_comes_later_is_found(
    shared_cloud: CloudProcess, order: Order, user_data: UserData
) -> None:
    async with running_control_plane() as away:
        pass
    machine = create(shared_cloud, order, user_data(away, "i1"))
    await asyncio.sleep(0.7)
    assert agent_of(shared_cloud, machine)["is_registered"] is False
    assert agent_of(shared_cloud, machine)["state"] == "running"
    async with running_control_plane(int(away.url.rsplit(":", 1)[1])) as back:
        await until(lambda: back.registered)
        await serving(shared_cloud, machine)


async def test_reinstall_is_a_new_agent(
    shared_cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData
) -> None:
    machine = create(shared_cloud, order, user_data(plane, "i1"))
    await serving(shared_cloud, machine)
    second = user_data(plane, "i1", bootstrap_token="bootstrap-i1-2", generation=2)
    shared_cloud.post(f"/v1/instances/{machine}/reinstall", user_data=second)
    await until(lambda: len(plane.registered) == 2)
    before, after = plane.registered
    assert after.token == "bootstrap-i1-2"
    assert after.body["nonce"] != before.body["nonce"]
    assert after.body["worker_id"] != before.body["worker_id"]


@pytest.mark.parametrize("action", ["die", "hang"])
async def test_an_agent_that_falls_silent_comes_back_when_restarted(
    cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData, action: str
) -> None:
    machine = create(cloud, order, user_data(plane, "i1"))
    await serving(cloud, machine)
    cloud.post(f"/sim/instances/{machine}/agent", action=action)
    heard = plane.requests
    await asyncio.sleep(0.8)
    assert plane.requests <= heard + 1, "a heartbeat may have been on its way"
    cloud.kill()
    cloud.start()
    await asyncio.sleep(0.5)
    assert plane.requests <= heard + 1, "the restart of the cloud revived it"
    cloud.post(f"/v1/instances/{machine}/restart-agent", user_data=user_data(plane, "i1"))
    await until(lambda: len(plane.registered) == 2)
    assert plane.registered[1].token == worker_token("i1")


async def test_slow_start_and_drain(
    shared_cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData
) -> None:
    shared_cloud.fault("create", "slow_start", count=1, delay_s=2.5)
    machine = create(shared_cloud, order, user_data(plane, "i1"))
    await until(lambda: shared_cloud.get(f"/v1/instances/{machine}")["status"] == "ACTIVE")
    await asyncio.sleep(0.3)
    assert plane.requests == 0
    await serving(shared_cloud, machine)
    shared_cloud.post(f"/sim/instances/{machine}/agent", action="drain")
    await until(lambda: plane.beats[-1].body["status"] == "draining")


async def test_a_deleted_machine_is_silent(
    shared_cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData
) -> None:
    machine = create(shared_cloud, order, user_data(plane, "i1"))
    await serving(shared_cloud, machine)
    shared_cloud.delete(f"/v1/instances/{machine}")
    await asyncio.sleep(0.1)
    heard = plane.requests
    await asyncio.sleep(0.7)
    assert plane.requests == heard


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"instance_id": 1}', '{"control_plane_url": "file:///etc"}'])
async def test_user_data_that_makes_no_sense_leaves_a_machine_without_agent(
    shared_cloud: CloudProcess, order: Order, text: str
) -> None:
    machine = create(shared_cloud, order, text)
    await until(lambda: shared_cloud.get(f"/v1/instances/{machine}")["status"] == "ACTIVE")
    assert agent_of(shared_cloud, machine) == {}
    assert shared_cloud.get("/v1/instances")["instances"]


async def test_no_secret_is_logged(cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData) -> None:
    machine = create(cloud, order, user_data(plane, "planted"))
    await serving(cloud, machine)
    plane.ended.add("planted")
    await until(lambda: agent_of(cloud, machine)["state"] == "exited")
    cloud.stop()
    log = cloud.log()
    for secret in ("bootstrap-planted", "wk_planted", "serving-planted"):
        assert secret not in log


async def test_a_hundred_machines_register_once_each(
    shared_cloud: CloudProcess, plane: ControlPlane, order: Order, user_data: UserData
) -> None:
    plane.interval_s = 1.0
    for number in range(100):
        create(shared_cloud, order, user_data(plane, f"n{number}"))
    await until(
        lambda: len({beat.body["instance_id"] for beat in plane.beats if beat.body["phase"] == "serving"}) == 100
    )
    assert len(plane.registered) == 100
    assert len({each.body["worker_id"] for each in plane.registered}) == 100
