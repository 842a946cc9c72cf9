"""The instance's owner, from the contract: states, faults, commands at every wait, and what the provider's ledger says."""

import pytest

from models.base.errors import NoCapacity, ProviderAuth, ProviderUnavailable
from models.domain.fleet.instances.state import OnUnavailable
from models.ports.compute import MachineState
from tests.workflow.fleet.instances.world import InstanceWorld


async def test_an_order_becomes_ready_and_its_end_is_verified(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["status"] == "booting")
    await world.agent_says(instance_id, "preparing")
    await world.until(instance_id, lambda row: row["status"] == "installing")
    await world.agent_says(instance_id, "loading_model")
    await world.until(instance_id, lambda row: row["status"] == "starting")
    await world.agent_says(instance_id, "serving", "ready")
    await world.until(instance_id, lambda row: row["status"] == "ready")
    assert await world.operations(instance_id) == {"instance.provision": "succeeded"}

    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id)
    assert not world.compute.live
    assert await world.history(instance_id) == [
        "provisioning", "booting", "installing", "starting", "ready", "draining", "terminating", "terminated",
    ]  # fmt: skip
    segments = await world.rows("SELECT * FROM billing_segments")
    assert [(one["provider_resource_id"], one["closed_at"] is not None) for one in segments] == [("fake-1", True)]
    assert segments[0]["closed_at"] == world.compute.ended_at["fake-1"], "the ledger keeps the provider's clock"
    assert (await world.operations(instance_id))["instance.terminate"] == "succeeded"
    await world.keep_history(instance_id, "ready-and-terminated")


async def test_no_capacity_fails_at_once_and_creates_nothing(world: InstanceWorld) -> None:
    world.compute.script["create"] = [NoCapacity("none left")]
    instance_id = await world.deploy_id(zone="local")
    row = await world.until(instance_id, lambda row: row["status"] == "failed")
    assert row["error_code"] == "PROVIDER_OUT_OF_STOCK"
    assert world.compute.calls.count("create") == 1
    assert (await world.operations(instance_id))["instance.provision"] == "failed"
    await world.keep_history(instance_id, "no-capacity")


async def test_dstack_3453_an_answer_lost_after_the_create_makes_no_second_machine(world: InstanceWorld) -> None:
    world.compute.script["create"] = [ProviderUnavailable("500", details={"created": True})]
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["status"] == "booting")
    assert world.compute.created == 1
    await world.keep_history(instance_id, "create-answer-lost")


async def test_crossplane_850_a_create_that_failed_after_creating_is_cleaned_up(world: InstanceWorld) -> None:
    world.compute.script["create"] = [ProviderAuth("revoked in the middle")]
    instance_id = await world.deploy_id()
    row = await world.until(instance_id, lambda row: row["status"] == "failed")
    assert row["error_code"] == "MISSING_PROVIDER_CREDENTIALS"
    await world.command("terminate", instance_id)
    await world.ended(instance_id, skipping_s=20)
    await world.keep_history(instance_id, "create-failed-and-cleaned-up")


async def test_a_machine_that_fails_to_start_is_removed(world: InstanceWorld) -> None:
    world.compute.starts_as = MachineState.FAILED
    instance_id = await world.deploy_id()
    row = await world.ended(instance_id)
    assert (row["status"], row["deletion_reason"]) == ("terminated", "provider_start_failed_cleanup")
    assert row["error_code"] == "PROVIDER_START_FAILED"
    assert not world.compute.live
    await world.keep_history(instance_id, "start-failed")


async def test_startup_timeout_and_a_late_heartbeat(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["status"] == "booting")
    row = await world.until(instance_id, lambda row: row["status"] == "startup_failed", skipping_s=300)
    assert row["error_code"] == "STARTUP_TIMEOUT"
    assert (await world.operations(instance_id))["instance.provision"] == "failed"
    await world.execute("UPDATE instances SET boot_started_at = now() - interval '2 hours' WHERE id = %s", instance_id)
    await world.agent_says(instance_id, "loading_model")
    row = await world.until(instance_id, lambda row: row["status"] == "starting")
    assert row["error_code"] is None, "fact 8: a heartbeat after the time-out returns the instance to its boot"
    await world.keep_history(instance_id, "startup-timeout")


@pytest.mark.parametrize("when", ["booting", "installing", "ready", "unavailable"])
async def test_terminate_in_every_state_leaves_nothing(world: InstanceWorld, when: str) -> None:
    instance_id = await world.deploy_id(OnUnavailable.WAIT)
    await world.until(instance_id, lambda row: row["status"] == "booting")
    if when == "installing":
        await world.agent_says(instance_id, "preparing")
    elif when in ("ready", "unavailable"):
        await world.become_ready(instance_id)
    if when == "unavailable":
        await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    await world.until(instance_id, lambda row: row["status"] == when)
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id)
    assert not world.compute.live
    open_segments = await world.rows("SELECT 1 FROM billing_segments WHERE closed_at IS NULL")
    assert not open_segments
    await world.keep_history(instance_id, f"terminated-while-{when}")


async def test_reinstall_takes_effect_once(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    first = await world.command("reinstall", instance_id)
    second = await world.command("reinstall", instance_id)
    assert first.operation is not None
    assert second.operation is not None
    assert first.operation.id == second.operation.id
    await world.until(instance_id, lambda row: row["generation"] == 2)
    await world.until(instance_id, lambda row: row["waiting_on"] == "AGENT_REGISTERS")
    await world.agent_says(instance_id, "serving", "ready")
    await world.until(instance_id, lambda row: row["status"] == "ready")
    assert world.compute.calls.count("reinstall") == 1
    assert (await world.operations(instance_id))["instance.reinstall"] == "succeeded"
    assert world.compute.created == 1
    await world.keep_history(instance_id, "reinstall")


async def test_a_silent_instance_heals_by_restarting_its_agent(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    await world.until(instance_id, lambda row: row["generation"] == 2, skipping_s=30)
    await world.agent_says(instance_id, "serving", "ready")
    row = await world.until(instance_id, lambda row: row["status"] == "ready")
    assert row["heal_attempts"] == 1
    assert "restart_agent" in world.compute.calls
    await world.keep_history(instance_id, "healed")


async def test_three_attempts_to_heal_then_failed_with_an_alarm(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id(OnUnavailable.WAIT)
    await world.become_ready(instance_id)
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    row = await world.until(instance_id, lambda row: row["status"] == "failed", skipping_s=30)
    assert (row["error_code"], row["heal_attempts"]) == ("HEAL_EXHAUSTED", 3)
    assert await world.rows("SELECT 1 FROM action_logs WHERE action_type = 'ALARM'")
    assert world.compute.live, "a failed instance is still there, and still billed, until somebody ends it"
    await world.keep_history(instance_id, "heal-exhausted")


async def test_dstack_giveup_15min_a_refused_deletion_is_never_given_up(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    world.compute.script["delete"] = [ProviderUnavailable("403 while provisioning")] * 40
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        row = await world.until(instance_id, lambda row: row["error_code"] is not None)
        assert row["status"] == "terminating"
        world.compute.script["delete"].clear()
        await world.ended(instance_id, skipping_s=5)
    assert not world.compute.live
    await world.keep_history(instance_id, "deletion-refused")


async def test_a_machine_deleted_behind_our_back_closes_its_bill(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    world.compute.live.clear()
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    row = await world.ended(instance_id, skipping_s=30)
    assert (row["status"], row["deletion_reason"], row["deleted_by_provider"]) == (
        "terminated", "provider_deleted", True,
    )  # fmt: skip
    assert not await world.rows("SELECT 1 FROM billing_segments WHERE closed_at IS NULL")
    await world.keep_history(instance_id, "deleted-by-provider")
