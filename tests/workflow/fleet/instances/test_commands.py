"""Every command at every wait of the owner, more than once, and what must be true afterwards: nothing left, nothing twice."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest
from temporalio.client import WorkflowExecutionStatus

from models.base.errors import Conflict, MalformedRequest, ProviderUnavailable
from models.contracts.fleet.owner_kinds import INSTANCE
from models.domain.fleet.instances.state import OnUnavailable
from models.ports.compute import MachineState
from tests.patience import GIVE_UP_S
from tests.workflow.fleet.instances.world import InstanceWorld

KEEPS_HISTORIES = True
"""Each owner ends in another way here."""


async def terminate_twice(world: InstanceWorld, instance_id: UUID) -> None:
    """Two at once, and every message delivered twice."""
    first, second = await asyncio.gather(
        world.command("terminate", instance_id),
        world.command("terminate", instance_id),
    )
    for commanded in (first, second):
        if commanded.message is not None:
            await world.delivery.deliver(commanded.message)
    if first.operation and second.operation:
        assert first.operation.id == second.operation.id, "asking twice is one operation"


async def assert_nothing_left(world: InstanceWorld) -> None:
    assert not world.compute.live
    assert not await world.rows("SELECT 1 FROM billing_segments WHERE closed_at IS NULL")
    billed = {row["provider_resource_id"] for row in await world.rows("SELECT * FROM billing_segments")}
    assert billed == set(world.compute.ended_at), "every machine that ever ran has a bill, and only those"
    terminations = await world.rows("SELECT status FROM operations WHERE kind = 'instance.terminate'")
    assert [row["status"] for row in terminations] == ["succeeded"]
    open_operations = await world.rows("SELECT 1 FROM operations WHERE status IN ('pending', 'running')")
    assert not open_operations


async def test_coder_12331_terminate_before_any_worker_took_the_order(world: InstanceWorld) -> None:
    order = await world.deploy(deliver=False)
    commanded = await world.command("terminate", order.instance_id)
    assert (commanded.status, commanded.message) == ("terminated", None), "fact 3: no create was ever attempted"
    await world.delivery.deliver(order.message)
    assert (await world.ended(order.instance_id))["deletion_reason"] == "no_provider_resource"
    assert world.compute.calls == []


async def test_dstack_2068_terminate_while_the_provider_creates(world: InstanceWorld) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    create = world.compute.create

    async def slow_create(*args: object, **kwargs: object) -> object:
        reached.set()
        await go_on.wait()
        return await create(*args, **kwargs)  # type: ignore[arg-type]

    world.compute.create = slow_create  # type: ignore[method-assign, assignment]
    instance_id = await world.deploy_id()
    await reached.wait()
    await terminate_twice(world, instance_id)
    # The time-skipping server loses a task in which a cancelled activity ends at the same moment.
    await asyncio.sleep(1)
    go_on.set()
    await world.ended(instance_id, skipping_s=5)
    await assert_nothing_left(world)


async def test_terminate_while_a_throttled_create_is_retried(world: InstanceWorld) -> None:
    world.compute.script["create"] = [
        ProviderUnavailable("made, and the answer lost", details={"created": True}),
        *[ProviderUnavailable("away") for _ in range(500)],
    ]
    world.compute.keys_found = False
    instance_id = await world.deploy_id()
    await world.until_called("create", 1)
    await terminate_twice(world, instance_id)
    await world.ended(instance_id, skipping_s=5)
    await assert_nothing_left(world)


async def test_terminate_while_the_machine_is_being_built(world: InstanceWorld) -> None:
    world.compute.starts_as = MachineState.PENDING
    instance_id = await world.deploy_id()
    await world.until_called("describe", 2)
    await terminate_twice(world, instance_id)
    await world.ended(instance_id, skipping_s=5)
    await assert_nothing_left(world)


async def test_terminate_during_a_reinstall(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await world.command("reinstall", instance_id)
    await world.until(instance_id, lambda row: row["generation"] == 2)
    await terminate_twice(world, instance_id)
    await world.ended(instance_id)
    await assert_nothing_left(world)
    assert (await world.operations(instance_id))["instance.reinstall"] == "cancelled"
    with pytest.raises(MalformedRequest):
        await world.command("reinstall", instance_id)


@pytest.mark.parametrize("owner_is_gone", [False, True], ids=["asleep", "gone"])
@pytest.mark.parametrize("name", ["terminate", "reinstall"])
async def test_asking_again_wakes_the_owner_that_did_not_hear_it(
    real_time_world: InstanceWorld, name: str, owner_is_gone: bool
) -> None:
    """The first message is lost, and nothing else wakes this owner within the minutes that it may sleep."""
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    first = await world.command(name, instance_id, deliver=False)
    if owner_is_gone:
        await world.handle(instance_id).terminate("by a test")
    await asyncio.sleep(1)
    row = await world.row(instance_id)
    assert (row["status"], row["generation"]) == ("ready", 1), "it is not known to its owner"
    again = await world.command(name, instance_id)
    assert first.operation is not None
    assert again.operation is not None
    assert again.operation.id == first.operation.id
    if name == "terminate":
        async with world.beating(instance_id):  # a silent agent would be waited for
            await world.ended(instance_id)
        await assert_nothing_left(world)
    else:
        await world.until(instance_id, lambda row: row["generation"] == 2)


async def test_terminate_while_draining_and_while_terminating(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await world.agent_says(instance_id, "serving", "ready", slots_busy=1)
    await world.command("terminate", instance_id)
    await world.until(instance_id, lambda row: row["status"] == "draining")
    await terminate_twice(world, instance_id)
    with pytest.raises(Conflict):
        await world.command("reinstall", instance_id)
    world.compute.script["delete"] = [ProviderUnavailable("not now")] * 2
    async with world.beating(instance_id):
        await asyncio.sleep(1.5)
        assert (await world.row(instance_id))["status"] == "draining", "a request is in flight"
        await world.agent_says(instance_id, "serving", "ready", slots_busy=0)
        await world.until(instance_id, lambda row: row["status"] == "terminating")
        await terminate_twice(world, instance_id)
        await world.ended(instance_id, skipping_s=2)
    await assert_nothing_left(world)


async def test_the_drain_time_ends(world: InstanceWorld) -> None:
    world.instance_rows._limits = replace(world.limits(), drain_timeout_s=2.0)
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await world.agent_says(instance_id, "serving", "ready", slots_busy=1)
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id)
    history = await world.rows("SELECT reason FROM instance_state_history WHERE to_status = 'terminating'")
    assert [row["reason"] for row in history] == ["drain time over"]


async def test_cancel_of_a_provision_removes_what_it_made(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["status"] == "booting")
    operation = (await world.rows("SELECT id FROM operations"))[0]["id"]
    await world.command("cancel", operation)
    await world.ended(instance_id, skipping_s=5)
    await assert_nothing_left(world)
    assert (await world.operations(instance_id))["instance.provision"] == "cancelled"
    with pytest.raises(Conflict):
        await world.command("cancel", operation)


@pytest.mark.parametrize("policy", [OnUnavailable.REINSTALL, OnUnavailable.TERMINATE])
async def test_other_policies_for_a_silent_instance(world: InstanceWorld, policy: OnUnavailable) -> None:
    instance_id = await world.deploy_id(policy)
    await world.become_ready(instance_id)
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    if policy is OnUnavailable.TERMINATE:
        row = await world.ended(instance_id, skipping_s=30)
        assert row["deletion_reason"] == "unavailable"
        assert not world.compute.live
    else:
        await world.until(instance_id, lambda row: row["generation"] == 2, skipping_s=30)
        await world.until_called("reinstall", 1)


async def test_an_instance_that_comes_back_by_itself_is_left_alone(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    await world.until(instance_id, lambda row: row["status"] == "unavailable")
    await world.agent_says(instance_id, "serving", "ready")
    row = await world.until(instance_id, lambda row: row["status"] == "ready")
    assert (row["generation"], row["heal_attempts"]) == (1, 0)
    assert "restart_agent" not in world.compute.calls


async def test_edges_in_a_flood_and_out_of_order_change_nothing(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    for edge in ("lost", "phase", "rebooted", "registered") * 10:
        await world.handle(instance_id).signal("observed", {"edge": edge, "boot_id": "another", "generation": 7})
    await asyncio.sleep(0.5)
    row = await world.row(instance_id)
    assert (row["status"], row["generation"]) == ("ready", 1), "the liveness row is the truth, signals are hints"


async def test_an_owner_terminated_in_temporal_is_taken_over(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await world.command("reinstall", instance_id)
    await world.until(instance_id, lambda row: row["generation"] == 2)
    await world.handle(instance_id).terminate("an operator")
    assert await world.delivery.restart_owner(
        INSTANCE, instance_id, world.principal.organization_id, provider_code="mock"
    )
    await world.agent_says(instance_id, "serving", "ready")
    await world.until(instance_id, lambda row: row["status"] == "ready")
    async with world.beating(instance_id):
        await terminate_twice(world, instance_id)
        await world.ended(instance_id)
    assert world.compute.created == 1
    await assert_nothing_left(world)


async def test_every_message_redelivered_after_the_end_creates_nothing(world: InstanceWorld) -> None:
    order = await world.deploy()
    await world.become_ready(order.instance_id)
    async with world.beating(order.instance_id):
        commanded = await world.command("terminate", order.instance_id)
        before = await world.ended(order.instance_id)
    for message in (order.message, commanded.message):
        assert message is not None
        await world.delivery.deliver(message)
    await world.delivery.restart_owner(
        INSTANCE, order.instance_id, world.principal.organization_id, provider_code="mock"
    )
    await until(lambda: world.is_closed(order.instance_id))
    assert (await world.row(order.instance_id))["version"] == before["version"]
    await assert_nothing_left(world)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while not await true():  # type: ignore[misc]
            await asyncio.sleep(0.05)


async def test_archive_only_from_terminated(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    with pytest.raises(MalformedRequest):
        await world.command("archive", instance_id)
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id)
    assert (await world.command("archive", instance_id)).status == "archived"
    assert (await world.command("archive", instance_id)).status == "archived"
    described = await world.handle(instance_id).describe()
    assert described.status is WorkflowExecutionStatus.COMPLETED
