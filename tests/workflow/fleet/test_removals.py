"""What a removal owes to the ledger and to people: each bill ends when the provider says, and a long removal raises an alarm."""

import asyncio
from uuid import UUID

from models.base.clock import utc_now
from models.base.errors import ProviderAuth, ProviderUnavailable
from models.ports.compute import Machine, Volume
from tests.patience import GIVE_UP_S
from tests.workflow.fleet.instances.world import InstanceWorld


def volume_of(world: InstanceWorld, name: str, *, delete_on_terminate: bool = True) -> Volume:
    """A billed volume of the one machine there is."""
    [machine_id] = world.compute.live
    now = utc_now()
    volume = Volume(
        provider_volume_id=name,
        name=name,
        volume_type="ssd",
        size_gb=10,
        is_boot=False,
        delete_on_terminate=delete_on_terminate,
        attached_to=machine_id,
        created_at=now,
        billed_from=now,
        price_eur_per_hour="0.010000",
        billing_increment_s=3600,
    )
    world.compute.add_volume(volume)
    return volume


async def bills(world: InstanceWorld) -> dict[str, dict[str, object]]:
    rows = await world.rows("SELECT * FROM billing_segments")
    return {row["provider_resource_id"]: row for row in rows}


async def logged(world: InstanceWorld, instance_id: UUID) -> list[str]:
    statement = "SELECT action_type FROM action_logs WHERE instance_id = %s ORDER BY id"
    return [row["action_type"] for row in await world.rows(statement, instance_id)]


async def deployed_with_volume(world: InstanceWorld, *, delete_on_terminate: bool = True) -> tuple[UUID, Volume]:
    """A booting instance whose volume was there when its machine ran."""
    started, go_on, describe = asyncio.Event(), asyncio.Event(), world.compute.describe

    async def watched(provider_instance_id: str, zone: str) -> Machine | None:
        started.set()
        await go_on.wait()
        return await describe(provider_instance_id, zone)

    world.compute.describe = watched  # type: ignore[method-assign]
    instance_id = await world.deploy_id()
    await started.wait()
    volume = volume_of(world, "vol-1", delete_on_terminate=delete_on_terminate)
    go_on.set()
    await world.until(instance_id, lambda row: row["status"] == "booting")
    return instance_id, volume


async def test_the_bill_of_a_volume_ends_with_its_machine(world: InstanceWorld) -> None:
    """No list shows it any more then, but the provider knows."""
    instance_id, volume = await deployed_with_volume(world)
    await world.become_ready(instance_id)
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id, skipping_s=5)
    found = (await bills(world))["vol-1"]
    assert (found["opened_at"], found["closed_at"]) == (volume.billed_from, world.compute.ended_at["vol-1"])
    assert (found["usage_kind"], found["billing_increment_s"], found["close_reason"]) == ("volume", 3600, "gone")


async def test_the_bill_of_a_volume_whose_machine_was_taken_back_ends_then(world: InstanceWorld) -> None:
    instance_id, _ = await deployed_with_volume(world)
    [machine_id] = world.compute.live
    world.compute.take_back(machine_id)
    await world.ended(instance_id, skipping_s=30)
    assert (await bills(world))["vol-1"]["closed_at"] == world.compute.ended_at["vol-1"]


async def test_a_volume_that_nobody_had_seen_is_on_the_bill_before_it_goes(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    volume = volume_of(world, "vol-1")
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id, skipping_s=5)
    found = (await bills(world))["vol-1"]
    assert (found["opened_at"], found["closed_at"]) == (volume.billed_from, world.compute.ended_at["vol-1"])


async def test_a_twin_of_the_machine_on_record_is_on_the_bill_before_it_goes(world: InstanceWorld) -> None:
    """After its delete nobody could learn of it any more."""
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    [machine] = world.compute.live.values()
    twin = machine.model_copy(update={"provider_instance_id": "twin", "billed_from": utc_now()})
    world.compute.add_twin(twin, of=machine.provider_instance_id)

    seen: list[set[str]] = []
    delete = world.compute.delete

    async def watched(provider_instance_id: str, zone: str) -> None:
        seen.append(set(await bills(world)))
        await delete(provider_instance_id, zone)

    world.compute.delete = watched  # type: ignore[method-assign]
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id, skipping_s=5)
    assert seen
    assert all({"twin", machine.provider_instance_id} <= billed for billed in seen)
    found = (await bills(world))["twin"]
    assert (found["opened_at"], found["closed_at"]) == (twin.billed_from, world.compute.ended_at["twin"])


async def test_a_volume_to_be_kept_stays_on_the_bill(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    volume_of(world, "vol-1", delete_on_terminate=False)
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id, skipping_s=5)
    assert (await bills(world))["vol-1"]["closed_at"] is None
    assert list(world.compute.volumes) == ["vol-1"]


async def test_a_kept_volume_that_no_list_shows_holds_nothing_up(world: InstanceWorld) -> None:
    """Somebody took it over, and its tags: that is no concern of the termination."""
    instance_id, _ = await deployed_with_volume(world, delete_on_terminate=False)
    await world.become_ready(instance_id)
    del world.compute.volumes["vol-1"]
    world.compute.kept_elsewhere.add("vol-1")
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id, skipping_s=5)
    assert (await bills(world))["vol-1"]["closed_at"] is None


async def test_volumes_that_cannot_be_listed_keep_no_machine_alive(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    world.compute.script["list_volumes"] = [ProviderAuth("may delete machines, may not list volumes")] * 100_000
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.until(instance_id, lambda row: row["error_code"] == "VOLUMES_DELETE_PENDING", skipping_s=5)
        assert not world.compute.live
        world.compute.script["list_volumes"].clear()
        await world.ended(instance_id, skipping_s=5)


async def test_leftovers_that_cannot_be_removed_raise_an_alarm_and_so_does_the_termination(
    world: InstanceWorld,
) -> None:
    world.compute.script["create"] = [ProviderAuth("made, and then refused", details={"created": True})]
    world.compute.script["delete"] = [ProviderUnavailable("no")] * 100_000
    instance_id = await world.deploy_id()

    async def alarms() -> int:
        return (await logged(world, instance_id)).count("ALARM")

    async with asyncio.timeout(GIVE_UP_S):
        while not await alarms():
            await world.skip(10)
    log = await logged(world, instance_id)
    assert log.count("TERMINATION_PENDING") == 1
    row = await world.row(instance_id)
    assert (row["status"], row["error_code"]) == ("failed", "MISSING_PROVIDER_CREDENTIALS"), "why it failed is kept"
    await world.command("terminate", instance_id)
    await world.until(instance_id, lambda row: row["error_code"] == "TERMINATION_PENDING", skipping_s=10)
    async with asyncio.timeout(GIVE_UP_S):
        while await alarms() < 2:
            await world.skip(10)
    world.compute.script["delete"].clear()
    await world.ended(instance_id, skipping_s=10)
    assert await alarms() == 2, "one for each thing that took long"
    assert not world.compute.live
