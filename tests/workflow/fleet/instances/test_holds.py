"""The owner holds: refusals that no retry helps, wishes that come in the middle of a call, agents that die again and again.

On the development server: its timers are real, and it takes a cancellation that meets the end of an activity.
"""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

from temporalio.client import WorkflowExecutionStatus

from models.base.errors import ProviderAuth, ProviderUnavailable
from models.ports.compute import BootData, Machine, MachineSpec, MachineState
from tests.patience import GIVE_UP_S
from tests.workflow.fleet.instances.world import InstanceWorld

MANY = 1_000


async def test_a_termination_while_a_silent_machine_is_looked_at(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    world.instance_rows._limits = replace(world.limits(), stale_s=1.0)
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["status"] == "booting")
    looked = world.compute.calls.count("describe")
    world.compute.script["describe"] = [ProviderUnavailable("away")] * MANY
    await world.until_called("describe", looked + 1)
    await world.command("terminate", instance_id)
    await world.ended(instance_id)
    assert not world.compute.live


async def test_a_refusal_that_no_retry_helps_does_not_end_the_owner(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    world.compute.starts_as = MachineState.PENDING
    world.compute.script["describe"] = [ProviderAuth("revoked")] * MANY
    instance_id = await world.deploy_id()
    row = await world.until(instance_id, lambda row: row["waiting_params"] == {"error_code": "PROVIDER_AUTH"})
    assert row["waiting_on"] == "PROVIDER_ANSWERS"
    assert row["status"] == "provisioning", "it waits, and says for what"
    described = await world.handle(instance_id).describe()
    assert described.status is WorkflowExecutionStatus.RUNNING
    assert world.compute.calls.count("describe") < 5, "and it does not spin"
    await world.command("terminate", instance_id)
    world.compute.script["describe"].clear()
    await world.ended(instance_id)
    assert not world.compute.live


async def test_a_request_on_its_way_when_removal_begins_leaves_no_machine(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    reached, loop = asyncio.Event(), asyncio.get_running_loop()
    failures = [ProviderUnavailable("away")]

    async def create(spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        if failures:
            await asyncio.sleep(
                1.2
            )  # longer than the settle time of these tests, as an outage is than that of the product
            raise failures.pop()
        reached.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            loop.call_later(0.5, world.compute._make, spec)  # the provider had received the request
            raise
        raise AssertionError("the call is cancelled before")

    world.compute.create = create  # type: ignore[method-assign]
    instance_id = await world.deploy_id()
    async with asyncio.timeout(GIVE_UP_S):
        await reached.wait()
    await world.command("terminate", instance_id)
    await world.ended(instance_id)
    assert world.compute.created == 1
    assert not world.compute.live


async def test_a_termination_during_a_create_does_not_wait_for_the_machine(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    reached, go_on = asyncio.Event(), asyncio.Event()
    create = world.compute.create

    async def slow_create(spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        reached.set()
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue  # the answer comes all the same
        return await create(spec, boot, first_attempt=first_attempt)

    world.compute.create = slow_create  # type: ignore[method-assign]
    world.compute.starts_as = MachineState.PENDING
    instance_id = await world.deploy_id()
    await reached.wait()
    await world.command("terminate", instance_id)
    await asyncio.sleep(0.5)
    go_on.set()
    await world.ended(instance_id)
    assert not world.compute.live


def has_generation(wanted: int, row: dict[str, Any]) -> bool:
    return bool(row["generation"] == wanted)


async def test_an_agent_that_dies_after_every_restart_is_given_up_with_an_alarm(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    world.instance_rows._limits = replace(world.limits(), stale_s=1.0, unavailable_wait_s=0.5)
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    for generation in (2, 3, 4):
        await world.until(instance_id, partial(has_generation, generation))
        await world.until(instance_id, lambda row: row["waiting_on"] == "AGENT_REGISTERS")
        await world.agent_says(instance_id, "loading_model")  # it registers, and dies while it loads
    row = await world.until(instance_id, lambda row: row["status"] == "failed")
    assert (row["error_code"], row["heal_attempts"]) == ("HEAL_EXHAUSTED", 3)
    assert await world.rows("SELECT 1 FROM action_logs WHERE action_type = 'ALARM'")


async def test_a_reinstall_asked_for_behind_the_owners_back_is_not_lost(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["status"] == "booting")
    await world.agent_says(instance_id, "serving", "ready")
    commanded = await world.command("reinstall", instance_id)
    assert commanded.operation is not None
    await world.until(instance_id, lambda row: row["generation"] == 2)
    await world.until_called("reinstall", 1)
    await world.until(instance_id, lambda row: row["waiting_on"] == "AGENT_REGISTERS")
    assert (await world.operations(instance_id))["instance.reinstall"] == "running"
    await world.agent_says(instance_id, "serving", "ready")
    await world.until(instance_id, lambda row: row["status"] == "ready")
    assert (await world.operations(instance_id))["instance.reinstall"] == "succeeded"


async def test_the_bill_of_what_a_failed_create_left_ends_with_it(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    world.compute.script["create"] = [ProviderAuth("made, and then refused", details={"created": True})]
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["status"] == "failed")
    async with asyncio.timeout(GIVE_UP_S):
        while not await world.rows("SELECT 1 FROM billing_segments WHERE closed_at IS NOT NULL"):
            await asyncio.sleep(0.1)
    segments = await world.rows("SELECT * FROM billing_segments")
    assert [one["closed_at"] for one in segments] == [world.compute.ended_at["fake-1"]]
    assert not world.compute.live
