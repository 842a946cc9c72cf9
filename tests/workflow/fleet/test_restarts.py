"""A machine that starts anew: where it serves is asked again, and one that the provider took back meanwhile is ended."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from activities.runtime.plugin import platform_plugin
from models.contracts.fleet.instances import Applied, Projection
from models.domain.fleet.instances.state import OnUnavailable
from models.ports.compute import MachineState
from models.repositories.fleet.instances import commands as instance_commands
from tests.fakes.compute import FIRST_PORT
from tests.patience import GIVE_UP_S
from tests.servers import TEST_CODEC_KEY, TestDatabase, running_temporal
from tests.workflow.fleet.instances.world import InstanceWorld, instance_world


async def assert_bills_ended_with_their_machines(world: InstanceWorld) -> None:
    for row in await world.rows("SELECT provider_resource_id, closed_at FROM billing_segments"):
        assert row["closed_at"] == world.compute.ended_at[row["provider_resource_id"]], row


def taken_back(world: InstanceWorld, instance_id: object) -> None:
    """By the provider, a moment ago."""
    [machine_id] = [one.provider_instance_id for one in world.compute.live.values() if one.instance_id == instance_id]
    world.compute.take_back(machine_id)


@pytest.mark.parametrize("hidden_looks", [0, 3])
async def test_a_reinstalled_machine_is_ready_at_the_address_of_this_boot(
    world: InstanceWorld, hidden_looks: int
) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    assert (await world.row(instance_id))["endpoint_port"] == FIRST_PORT + 1
    world.compute.hidden_looks = hidden_looks
    await world.command("reinstall", instance_id)
    await world.until(instance_id, lambda row: row["generation"] == 2)
    await world.agent_says(instance_id, "serving", "ready")
    ready = await world.until(instance_id, lambda row: row["status"] == "ready")
    assert ready["endpoint_port"] == FIRST_PORT + 2
    assert (await world.operations(instance_id))["instance.reinstall"] == "succeeded"


async def test_nothing_is_ready_while_nobody_knows_where(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    world.compute.hidden_looks = 1_000_000
    await world.command("reinstall", instance_id)
    await world.until(instance_id, lambda row: row["generation"] == 2)
    await world.agent_says(instance_id, "serving", "ready")
    with pytest.raises(TimeoutError):
        await world.until(instance_id, lambda row: row["status"] == "ready", 2.0)
    assert (await world.row(instance_id))["endpoint_port"] is None, "the old port may be anybody's now"
    await world.command("terminate", instance_id)
    await world.ended(instance_id, skipping_s=5)


@pytest.mark.parametrize("hidden_looks", [0, 3])
async def test_a_healed_agent_is_ready_at_its_new_address(world: InstanceWorld, hidden_looks: int) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    world.compute.hidden_looks = hidden_looks
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    await world.until(instance_id, lambda row: row["generation"] == 2, skipping_s=30)
    await world.agent_says(instance_id, "serving", "ready")
    assert (await world.until(instance_id, lambda row: row["status"] == "ready"))["endpoint_port"] == FIRST_PORT + 2


async def test_healing_goes_on_where_a_restarted_machine_tells_no_address(
    world: InstanceWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new agent died before it listened: that is one attempt, not the startup time."""
    impatient = replace(world.limits(), stale_s=2.0, unavailable_wait_s=1.0)
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    monkeypatch.setattr(world.instance_rows, "_limits", impatient)
    world.compute.hidden_looks = 1_000_000
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    row = await world.until(instance_id, lambda row: row["status"] == "failed", 50, skipping_s=2)
    assert (row["error_code"], row["heal_attempts"]) == ("HEAL_EXHAUSTED", 3)


async def test_a_machine_that_was_switched_off_is_healed_by_a_fresh_start(world: InstanceWorld) -> None:
    """It has no agent that could be restarted."""
    instance_id = await world.deploy_id(OnUnavailable.RESTART_AGENT)
    await world.become_ready(instance_id)
    [(machine_id, machine)] = world.compute.live.items()
    world.compute.live[machine_id] = machine.model_copy(update={"state": MachineState.FAILED})
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    async with asyncio.timeout(GIVE_UP_S):
        while "reinstall" not in world.compute.calls:
            await world.skip(30)
    assert "restart_agent" not in world.compute.calls


async def test_a_machine_taken_back_while_it_boots_ends_the_instance_and_its_bill(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["status"] == "booting")
    taken_back(world, instance_id)
    row = await world.ended(instance_id, skipping_s=30)
    assert (row["deletion_reason"], row["deleted_by_provider"]) == ("provider_deleted", True)
    [provision] = await world.rows("SELECT status, error_code FROM operations WHERE kind = 'instance.provision'")
    assert (provision["status"], provision["error_code"]) == ("failed", "PROVIDER_DELETED")
    await assert_bills_ended_with_their_machines(world)


async def test_a_reinstall_of_a_machine_taken_back_ends_the_instance_and_its_bill(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    taken_back(world, instance_id)
    await world.command("reinstall", instance_id)
    row = await world.ended(instance_id, skipping_s=30)
    assert (row["deletion_reason"], row["deleted_by_provider"]) == ("provider_deleted", True)
    assert (await world.operations(instance_id))["instance.reinstall"] == "failed"
    await assert_bills_ended_with_their_machines(world)
    await world.keep_history(instance_id, "a-reinstall-of-a-machine-taken-back")


async def test_a_reinstall_cancelled_before_it_began_does_not_happen(real_time_world: InstanceWorld) -> None:
    """Also where the owner had decided to begin it and not yet written so."""
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    decided, cancelled, apply = asyncio.Event(), asyncio.Event(), world.instance_rows.apply

    async def late(change: Projection) -> Applied:
        if change.begin_boot:
            decided.set()
            await asyncio.wait_for(cancelled.wait(), GIVE_UP_S)
        return await apply(change)

    world.instance_rows.apply = late  # type: ignore[method-assign]
    commanded = await world.command("reinstall", instance_id)
    assert commanded.operation is not None
    await decided.wait()
    async with world.api.tenant(world.principal.organization_id) as session:
        await instance_commands.cancel(session, world.principal, commanded.operation.id)
    cancelled.set()
    await world.handle(instance_id).query("snapshot")
    await asyncio.sleep(1)
    row = await world.row(instance_id)
    assert (row["status"], row["generation"], row["waiting_on"]) == ("ready", 1, None)
    assert "reinstall" not in world.compute.calls


async def test_a_cancellation_from_outside_does_not_end_an_owner(real_time_world: InstanceWorld) -> None:
    """Whoever presses "Request cancellation" in the web UI leaves no machine without its owner."""
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.handle(instance_id).cancel()
    await world.become_ready(instance_id)
    await world.handle(instance_id).cancel()
    await world.command("reinstall", instance_id)
    await world.until(instance_id, lambda row: row["generation"] == 2)
    await world.agent_says(instance_id, "serving", "ready")
    await world.until(instance_id, lambda row: row["status"] == "ready")
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id)
    assert not world.compute.live


async def test_an_owner_goes_on_as_new_whenever_its_history_has_grown(database: TestDatabase, tmp_path: Path) -> None:
    """Here after every few steps; what it must remember goes with it."""
    with running_temporal(tmp_path, dynamic_values=("limit.historyCount.suggestContinueAsNew=12",)) as server:
        client = await Client.connect(server.address, plugins=[platform_plugin(TEST_CODEC_KEY)])
        async with instance_world(database, WorkflowEnvironment.from_client(client)) as world:
            instance_id = await world.deploy_id()
            await world.become_ready(instance_id)
            await world.command("reinstall", instance_id)
            await world.until(instance_id, lambda row: row["generation"] == 2)
            for phase in ("preparing", "loading_model", "warming_up"):
                await world.agent_says(instance_id, phase)
            await world.agent_says(instance_id, "serving", "ready")
            await world.until(instance_id, lambda row: row["status"] == "ready")
            async with world.beating(instance_id):
                await world.command("terminate", instance_id)
                await world.ended(instance_id)
            runs = [run async for run in client.list_workflows(f"WorkflowId = 'instance/{instance_id}'")]
            operations = await world.operations(instance_id)
    assert len(runs) > 2, "the history grew and was never left behind"
    assert (world.compute.created, world.compute.live) == (1, {})
    assert world.compute.boots == [("fake-1", 1), ("fake-1", 2)], "each boot was sent once"
    assert operations == {
        "instance.provision": "succeeded", "instance.reinstall": "succeeded", "instance.terminate": "succeeded",
    }  # fmt: skip
