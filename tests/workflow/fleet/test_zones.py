"""An order that names no zone goes on where one has no capacity: at each zone's price, on record, with one machine at the end."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

from models.base.errors import NoCapacity, ProviderUnavailable
from models.ports.compute import BootData, Machine, MachineSpec
from tests.workflow.fleet.instances.world import InstanceWorld

KEEPS_HISTORIES = True
L4 = "sim-l4-1-24g"
"""0.75 in `local` and 0.79 in `sim-b` (seeds/instance_types.csv)."""

Create = Callable[..., Awaitable[Machine]]


def full(world: InstanceWorld, *zones: str) -> list[str]:
    """These zones have nothing free. Returns the zones that are asked, as they are."""
    create, asked = world.compute.create, []

    async def create_where_free(spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        asked.append(spec.zone)
        if spec.zone in zones:
            world.compute.promises.append(first_attempt)
            raise NoCapacity("none left")
        return await create(spec, boot, first_attempt=first_attempt)

    world.compute.create = create_where_free  # type: ignore[method-assign]
    return asked


async def tries(world: InstanceWorld, instance_id: UUID) -> list[tuple[str, str, str | None]]:
    """What the action log says of creates: which zone, and how it ended."""
    statement = (
        "SELECT details ->> 'zone' AS zone, action_type, error_code FROM action_logs"
        " WHERE instance_id = %s AND action_type IN ('EXECUTE_CREATE', 'PROVIDER_CREATE') ORDER BY id"
    )
    return [(row["zone"], row["action_type"], row["error_code"]) for row in await world.rows(statement, instance_id)]


async def test_the_next_zone_is_taken_at_its_own_price(world: InstanceWorld) -> None:
    asked = full(world, "local")
    instance_id = await world.deploy_id(instance_type=L4)
    ordered = await world.row(instance_id)
    assert ordered["price_eur_per_hour"] == Decimal("0.75")
    await world.become_ready(instance_id)
    row = await world.row(instance_id)
    [zone] = await world.rows("SELECT code FROM zones WHERE id = %s", row["zone_id"])
    assert (zone["code"], row["zone_code"], row["machine_spec"]["zone"]) == ("sim-b", "sim-b", "sim-b")
    assert row["price_eur_per_hour"] == Decimal("0.79")
    [bill] = await world.rows("SELECT price_eur_per_hour, price_source FROM billing_segments")
    assert (bill["price_eur_per_hour"], bill["price_source"]) == (Decimal("0.79"), "catalog")
    assert (asked, world.compute.promises, world.compute.created) == (["local", "sim-b"], [True, True], 1)
    assert await tries(world, instance_id) == [
        ("local", "EXECUTE_CREATE", None),
        ("local", "PROVIDER_CREATE", "PROVIDER_OUT_OF_STOCK"),
        ("sim-b", "EXECUTE_CREATE", None),
        ("sim-b", "PROVIDER_CREATE", None),
    ]
    await world.command("reinstall", instance_id)
    await world.until(instance_id, lambda row: row["waiting_on"] == "AGENT_REGISTERS")
    assert (await world.row(instance_id))["zone_code"] == "sim-b", "a machine that stays keeps its zone"


async def test_where_no_zone_has_capacity_the_order_names_those_it_tried(world: InstanceWorld) -> None:
    asked = full(world, "local", "sim-b")
    instance_id = await world.deploy_id(instance_type=L4)
    row = await world.until(instance_id, lambda row: row["status"] == "failed")
    assert (row["error_code"], row["error_message"]) == (
        "PROVIDER_OUT_OF_STOCK", "none left; zones tried: local, sim-b",
    )  # fmt: skip
    assert (asked, row["deletion_reason"]) == (["local", "sim-b"], "nothing_created")
    assert "find" not in world.compute.calls, "every zone refused a first create: there is nothing to look for"
    await world.command("terminate", instance_id)
    await world.ended(instance_id)


async def test_a_zone_that_was_asked_for_is_never_left(world: InstanceWorld) -> None:
    asked = full(world, "local")
    instance_id = await world.deploy_id(instance_type=L4, zone="local")
    row = await world.until(instance_id, lambda row: row["status"] == "failed")
    assert (asked, row["error_message"]) == (["local"], "none left")


async def test_a_machine_whose_answer_was_lost_is_found_from_the_next_zone(world: InstanceWorld) -> None:
    """It took the last place, and the provider hid it for longer than the second look lasted."""
    make, answers = world.compute.create, 0

    async def create(spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        nonlocal answers
        answers += 1
        if answers == 1:
            await make(spec, boot, first_attempt=first_attempt)
            raise ProviderUnavailable("the connection broke")
        if answers == 2:
            world.compute.promises.append(first_attempt)
            raise NoCapacity("none left")
        return await make(spec, boot, first_attempt=first_attempt)

    world.compute.create = create  # type: ignore[method-assign]
    instance_id = await world.deploy_id(instance_type=L4)
    row = await world.until(instance_id, lambda row: row["status"] == "booting", skipping_s=1)
    assert (world.compute.created, world.compute.promises) == (1, [True, False, False])
    assert (row["provider_instance_id"], row["zone_code"], row["machine_spec"]["zone"]) == ("fake-1", "local", "local")
    [bill] = await world.rows("SELECT provider_resource_id, price_eur_per_hour FROM billing_segments")
    assert (bill["provider_resource_id"], bill["price_eur_per_hour"]) == ("fake-1", Decimal("0.75"))


async def test_a_refusal_that_is_not_the_first_word_proves_nothing_of_the_zones(world: InstanceWorld) -> None:
    world.compute.script["create"] = [ProviderUnavailable("away"), NoCapacity("none left"), NoCapacity("none left")]
    instance_id = await world.deploy_id(instance_type=L4)
    row = await world.until(instance_id, lambda row: row["status"] == "failed", skipping_s=1)
    assert (world.compute.promises, row["deletion_reason"]) == ([True, False, False], None)
    await world.until_called("find", 1)


async def test_termination_while_a_zone_refuses_makes_nothing_in_the_next(world: InstanceWorld) -> None:
    """Not told to the owner: the row alone says it, where the order was to go on."""
    reached, go_on, asked = asyncio.Event(), asyncio.Event(), list[str]()

    async def create(spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        asked.append(spec.zone)
        reached.set()
        await go_on.wait()
        raise NoCapacity("none left")

    world.compute.create = create  # type: ignore[method-assign]
    instance_id = await world.deploy_id(instance_type=L4)
    await reached.wait()
    await world.command("terminate", instance_id, deliver=False)
    go_on.set()
    await world.ended(instance_id, skipping_s=1)
    assert (asked, world.compute.created) == (["local"], 0)


async def test_termination_in_the_next_zone_leaves_nothing(real_time_world: InstanceWorld) -> None:
    world, reached = real_time_world, asyncio.Event()
    create = world.compute.create

    async def create_and_hang(spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        if spec.zone == "local":
            raise NoCapacity("none left")
        await create(spec, boot, first_attempt=first_attempt)
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    world.compute.create = create_and_hang  # type: ignore[method-assign]
    instance_id = await world.deploy_id(instance_type=L4)
    await reached.wait()
    await world.command("terminate", instance_id)
    row = await world.ended(instance_id)
    assert (world.compute.created, world.compute.live, row["zone_code"]) == (1, {}, "sim-b")
    assert not await world.rows("SELECT 1 FROM billing_segments WHERE closed_at IS NULL")


async def test_a_decision_that_was_lost_skips_no_zone(world: InstanceWorld) -> None:
    """The row has moved on, and nobody heard of it: the refusal is of the zone before."""
    asked = full(world, "local")
    applied = world.instance_rows.apply
    moves: list[Any] = []

    async def lose_the_first_answer(change: Any) -> Any:
        answer = await applied(change)
        if change.no_capacity_in is not None:
            moves.append(change.no_capacity_in)
            if len(moves) == 1:
                raise ProviderUnavailable("the worker died")
        return answer

    world.instance_rows.apply = lose_the_first_answer  # type: ignore[method-assign]
    instance_id = await world.deploy_id(instance_type=L4)
    row = await world.until(instance_id, lambda row: row["status"] == "booting")
    assert (row["zone_code"], asked, moves) == ("sim-b", ["local", "sim-b"], ["local", "local"])
