"""After we were away an owner looks at its machine at once: a dead agent is healed without a wait, one that lives is left alone.

Where the server's clock is not moved on, no wait of an owner ends within a test.
"""

import asyncio
from uuid import UUID

import pytest

from models.base.errors import ProviderUnavailable
from models.contracts.fleet.instances import Observed
from models.domain.fleet.instances.state import Edge, OnUnavailable
from models.ports.compute import Machine
from tests.workflow.fleet.instances.test_holding import MANY
from tests.workflow.fleet.instances.world import InstanceWorld

KEEPS_HISTORIES = True


async def ready(world: InstanceWorld, on_unavailable: OnUnavailable = OnUnavailable.RESTART_AGENT) -> UUID:
    world.compute.dead_agents = set()
    instance_id = await world.deploy_id(on_unavailable)
    await world.become_ready(instance_id)
    return instance_id


async def doubt(world: InstanceWorld, instance_id: UUID) -> None:
    await world.handle(instance_id).signal("observed", Observed(edge=Edge.UNHEARD))


async def until_looked(world: InstanceWorld, instance_id: UUID) -> None:
    """The owner has dealt with all that it was told."""
    looks = world.compute.calls.count("describe")
    await doubt(world, instance_id)
    await world.until_called("describe", looks + 1)
    await world.handle(instance_id).query("snapshot")


async def test_a_dead_agent_is_restarted_at_once(world: InstanceWorld) -> None:
    instance_id = await ready(world)
    world.compute.dead_agents = {"fake-1"}
    await doubt(world, instance_id)
    await world.until(instance_id, lambda row: row["waiting_on"] == "AGENT_REGISTERS")
    assert ((await world.row(instance_id))["generation"], world.compute.calls.count("restart_agent")) == (2, 1)
    await world.agent_says(instance_id, "serving", "ready")
    row = await world.until(instance_id, lambda row: row["status"] == "ready")
    assert row["heal_attempts"] == 1
    assert await world.history(instance_id) == [
        "provisioning", "booting", "ready", "unavailable", "booting", "ready",
    ]  # fmt: skip


async def test_a_dead_agent_takes_no_requests_while_it_is_restarted(world: InstanceWorld) -> None:
    instance_id = await ready(world)
    world.compute.dead_agents, world.compute.script["restart_agent"] = {"fake-1"}, [ProviderUnavailable("slow")] * MANY
    await doubt(world, instance_id)
    await world.until_called("restart_agent", 1)
    assert not await world.rows("SELECT 1 FROM routable_instances")


async def test_an_agent_that_only_could_not_reach_us_is_left_alone(world: InstanceWorld) -> None:
    instance_id = await ready(world)
    calls = len(world.compute.calls)
    await until_looked(world, instance_id)
    row = await world.row(instance_id)
    assert (row["status"], row["generation"]) == ("ready", 1)
    assert world.compute.calls[calls:] == ["describe"]
    world.compute.dead_agents = None
    await until_looked(world, instance_id)
    assert (await world.row(instance_id))["status"] == "ready", "a provider that cannot tell condemns nobody"


async def test_a_machine_that_went_while_we_were_away_is_noticed_at_once(world: InstanceWorld) -> None:
    instance_id = await ready(world)
    world.compute.take_back("fake-1")
    await doubt(world, instance_id)
    row = await world.ended(instance_id)
    assert row["deleted_by_provider"]


async def test_a_provider_that_is_away_holds_up_no_ready_instance(world: InstanceWorld) -> None:
    instance_id = await ready(world)
    world.compute.script["describe"] = [ProviderUnavailable("away")] * MANY
    await doubt(world, instance_id)
    await world.until_called("describe", 2)
    await world.skip(60)
    row = await world.row(instance_id)
    assert (row["status"], row["held_code"]) == ("ready", None)
    world.compute.script["describe"] = []
    await world.command("reinstall", instance_id)
    await world.until(instance_id, lambda row: row["generation"] == 2)


async def test_a_silent_agent_that_is_known_to_be_dead_is_not_waited_for(world: InstanceWorld) -> None:
    instance_id = await ready(world)
    world.compute.dead_agents = {"fake-1"}
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    await world.until(instance_id, lambda row: row["generation"] == 2)


async def test_a_second_try_gets_its_time(world: InstanceWorld) -> None:
    """Restarting did not help at once: it is not done again and again."""
    instance_id = await ready(world)
    world.compute.dead_agents = {"fake-1"}
    await doubt(world, instance_id)
    await world.until(instance_id, lambda row: row["generation"] == 2)
    world.compute.dead_agents = {"fake-1"}
    await world.until(instance_id, lambda row: row["status"] == "unavailable", skipping_s=30)
    looks = world.compute.calls.count("describe")
    await doubt(world, instance_id)
    await world.handle(instance_id).query("snapshot")
    assert world.compute.calls.count("describe") == looks
    row = await world.until(instance_id, lambda row: row["generation"] == 3, skipping_s=30)
    assert row["heal_attempts"] == 2


@pytest.mark.parametrize(("policy", "generation"), [(OnUnavailable.WAIT, 1), (OnUnavailable.REINSTALL, 2)])
async def test_what_is_done_about_it_is_what_was_ordered(
    world: InstanceWorld, policy: OnUnavailable, generation: int
) -> None:
    instance_id = await ready(world, policy)
    world.compute.dead_agents = {"fake-1"}
    await doubt(world, instance_id)
    row = await world.until(
        instance_id, lambda row: row["generation"] == 2 or row["status"] == "unavailable", skipping_s=0
    )
    if policy is OnUnavailable.WAIT:
        assert (row["status"], row["generation"], row["heal_attempts"]) == ("unavailable", 1, 0)
    else:
        await world.until(instance_id, lambda row: row["generation"] == generation)
        await world.until_called("reinstall", 1)


async def test_termination_while_the_provider_is_asked(real_time_world: InstanceWorld) -> None:
    world, reached = real_time_world, asyncio.Event()
    instance_id = await ready(world)

    async def hang(provider_instance_id: str, zone: str) -> None:
        reached.set()
        await asyncio.Event().wait()

    describe, world.compute.describe = world.compute.describe, hang  # type: ignore[method-assign]
    await doubt(world, instance_id)
    await reached.wait()
    world.compute.describe = describe  # type: ignore[method-assign]
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id)
    assert not world.compute.live


async def test_an_agent_that_is_heard_again_while_the_provider_is_asked(world: InstanceWorld) -> None:
    """What was read beside the call is acted on after it: the time that a silent agent gets is not waited out."""
    asked, answer = asyncio.Event(), asyncio.Event()
    instance_id = await ready(world)
    describe = world.compute.describe

    async def take_time(provider_instance_id: str, zone: str) -> Machine | None:
        asked.set()
        await answer.wait()
        return await describe(provider_instance_id, zone)

    world.compute.describe = take_time  # type: ignore[method-assign]
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    await asked.wait()
    await world.agent_says(instance_id, "serving", "ready")
    await world.until_read(instance_id, lambda seen: seen.liveness is not None and not seen.liveness.is_stale)
    answer.set()
    row = await world.until(instance_id, lambda row: row["status"] == "ready")
    assert (row["generation"], row["heal_attempts"]) == (1, 0)
    await world.keep_history(instance_id, "news-beside-a-call-counts")


async def test_an_agent_that_died_before_it_served_is_started_again(world: InstanceWorld) -> None:
    world.compute.dead_agents = set()
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["status"] == "booting")
    world.compute.dead_agents = {"fake-1"}
    await doubt(world, instance_id)
    await world.until(instance_id, lambda row: row["generation"] == 2)
    await world.agent_says(instance_id, "serving", "ready")
    await world.until(instance_id, lambda row: row["status"] == "ready")
    assert (await world.operations(instance_id))["instance.provision"] == "succeeded"
