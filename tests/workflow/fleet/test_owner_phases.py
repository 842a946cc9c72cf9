"""In every phase an owner outlives a cancellation, is replaced after a termination in Temporal, and goes on as a new run.

The histories of all of it are kept, so that each phase is replayed from each of these ends.
"""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from activities.runtime.plugin import platform_plugin
from models.base.errors import NoCapacity, ProviderAuth, ProviderUnavailable
from models.domain.fleet.instances.state import OnUnavailable
from models.ports.compute import MachineState
from tests.patience import GIVE_UP_S
from tests.replay.recording import keep_history
from tests.servers import TEST_CODEC_KEY, TestDatabase, running_temporal
from tests.workflow.fleet.instances.test_holding import MANY
from tests.workflow.fleet.instances.world import InstanceWorld, instance_world
from workflows import options

AGENT_PHASES = {"installing": "preparing", "starting": "loading_model"}
PHASES = (
    "provisioning", "booting", "installing", "starting", "ready", "unavailable", "draining", "terminating", "failed",
    "startup_failed",
)  # fmt: skip
WITHOUT_WAITING = ("provisioning", "booting", "ready", "unavailable", "terminating", "failed")


async def brought_to(world: InstanceWorld, phase: str) -> UUID:
    """An instance in the phase, which stays there."""
    world.compute.script.clear()
    world.compute.starts_as = MachineState.RUNNING
    if phase == "provisioning":
        world.compute.starts_as = MachineState.PENDING
        world.compute.script["describe"] = [ProviderAuth("revoked")] * MANY
    elif phase == "failed":
        world.compute.script["create"] = [NoCapacity("none left")]
    instance_id = await world.deploy_id(OnUnavailable.WAIT, zone="local" if phase == "failed" else None)
    if phase in AGENT_PHASES:
        await world.until(instance_id, lambda row: row["status"] == "booting")
        await world.agent_says(instance_id, AGENT_PHASES[phase])
    elif phase in ("ready", "unavailable", "draining", "terminating"):
        await world.become_ready(instance_id)
        await world.agent_says(instance_id, "serving", "ready", slots_busy=1, is_stale=phase == "unavailable")
    if phase == "terminating":
        world.compute.script["delete"] = [ProviderUnavailable("not now")] * MANY
        await world.agent_says(instance_id, "serving", "ready", slots_busy=0, is_stale=True)
        await world.until(instance_id, lambda row: row["status"] == "unavailable")
    if phase in ("draining", "terminating"):
        await world.command("terminate", instance_id)
    await world.until(
        instance_id, lambda row: row["status"] == phase, skipping_s=300 if phase == "startup_failed" else 0
    )
    return instance_id


async def this_run(world: InstanceWorld, instance_id: UUID) -> WorkflowHandle[Any, Any]:
    workflow_id = f"instance/{instance_id}"
    return world.client.get_workflow_handle(workflow_id, run_id=(await world.handle(instance_id).describe()).run_id)


async def has_heard_of_cancellation(run: WorkflowHandle[Any, Any]) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            kinds = [event.event_type for event in (await run.fetch_history()).events]
            asked = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
            done = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
            if asked in kinds and done in kinds[kinds.index(asked) :]:
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("phase", PHASES)
async def test_a_cancellation_ends_nothing_and_a_termination_is_made_good(world: InstanceWorld, phase: str) -> None:
    instance_id = await brought_to(world, phase)
    run = await this_run(world, instance_id)
    await run.cancel()
    await has_heard_of_cancellation(run)
    assert (await run.describe()).status is WorkflowExecutionStatus.RUNNING
    assert (await world.row(instance_id))["status"] == phase
    await run.terminate("an operator")
    codec = world.client.data_converter.payload_codec
    await keep_history(run, f"cancelled-and-terminated-while-{phase}", codec)
    world.compute.script.clear()
    await world.execute("UPDATE instance_liveness SET slots_busy = 0")
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id, skipping_s=5)
    assert not world.compute.live
    assert not await world.rows("SELECT 1 FROM billing_segments WHERE closed_at IS NULL")
    await world.keep_history(instance_id, f"taken-over-while-{phase}")


async def test_an_owner_goes_on_as_a_new_run_in_every_phase(database: TestDatabase, tmp_path: Path) -> None:
    with running_temporal(tmp_path, dynamic_values=("limit.historyCount.suggestContinueAsNew=30",)) as server:
        client = await Client.connect(server.address, plugins=[platform_plugin(TEST_CODEC_KEY)])
        async with instance_world(database, WorkflowEnvironment.from_client(client)) as world:
            for phase in WITHOUT_WAITING:
                instance_id = await brought_to(world, phase)
                run = await this_run(world, instance_id)
                async with asyncio.timeout(GIVE_UP_S):
                    while (await run.describe()).status is WorkflowExecutionStatus.RUNNING:
                        await world.handle(instance_id).signal("observed", {"edge": "phase"})
                        await asyncio.sleep(0.02)
                assert (await run.describe()).status is WorkflowExecutionStatus.CONTINUED_AS_NEW
                await keep_history(run, f"continued-while-{phase}", client.data_converter.payload_codec)
                assert (await world.row(instance_id))["status"] == phase


async def test_a_long_history_ends_when_the_instance_comes_into_another_phase(world: InstanceWorld) -> None:
    """Long before the server suggests it, and in the middle of a boot, which is sent once all the same."""
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    run = await this_run(world, instance_id)
    async with asyncio.timeout(GIVE_UP_S):
        while len((await run.fetch_history()).events) < options.RENEWAL_EVENTS_AT_BOUNDARY:
            for _ in range(10):
                await run.signal("observed", {"edge": "phase"})
                await world.handle(instance_id).query("snapshot")
    assert (await run.describe()).status is WorkflowExecutionStatus.RUNNING, "in the middle of a phase it goes on"
    await world.command("reinstall", instance_id)
    await world.until(instance_id, lambda row: row["waiting_on"] == "AGENT_REGISTERS")
    async with asyncio.timeout(GIVE_UP_S):
        while (await run.describe()).status is WorkflowExecutionStatus.RUNNING:
            await asyncio.sleep(0.02)
    await keep_history(run, "renewed-at-a-boundary", world.client.data_converter.payload_codec)
    await world.agent_says(instance_id, "serving", "ready")
    await world.until(instance_id, lambda row: row["status"] == "ready")
    assert world.compute.boots == [("fake-1", 1), ("fake-1", 2)]


async def test_a_command_that_was_heard_before_is_a_hint_like_any(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    reinstall = await world.command("reinstall", instance_id)
    await world.until(instance_id, lambda row: row["waiting_on"] == "AGENT_REGISTERS")
    await world.agent_says(instance_id, "serving", "ready")
    await world.until(instance_id, lambda row: row["status"] == "ready")
    await world.command("terminate", instance_id, deliver=False)  # as when its message is lost
    assert reinstall.message is not None
    async with world.beating(instance_id):
        await world.delivery.deliver(reinstall.message)
        await world.ended(instance_id)
    await world.keep_history(instance_id, "a-command-heard-before")
