"""Owners whose row is of another time than they are: gone, over, behind or ahead. They end, or go on from what it says."""

import asyncio
from uuid import UUID

from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import ActivityEnvironment

from activities.sweeper import SweeperActivities
from models.contracts.operations import Reread
from models.contracts.sweeper import SweepInput, SweepResult
from models.ports.compute import BootData, Machine, MachineSpec, MachineState
from tests.patience import GIVE_UP_S
from tests.workflow.fleet.instances.world import InstanceWorld


async def sweep(world: InstanceWorld) -> SweepResult:
    """One that stands alone."""
    return await swept(world.sweeper(), SweepInput())


async def swept(sweeper: SweeperActivities, request: SweepInput) -> SweepResult:
    result = await ActivityEnvironment().run(sweeper.sweep, request)
    assert isinstance(result, SweepResult)
    return result


class Process:
    """A worker's, with what the engine remembers of its sweeps."""

    def __init__(self, world: InstanceWorld, mark: UUID | None = None) -> None:
        self._sweeper, self.mark = world.sweeper(), mark

    async def tells(self, mark: UUID | None = None) -> int:
        """How many owners the next sweep tells; of an engine that remembers another mark, where one is given."""
        result = await swept(self._sweeper, SweepInput(is_marked=True, mark=mark or self.mark))
        assert result.mark is not None
        self.mark = result.mark
        return result.owners_told


async def forget(world: InstanceWorld, instance_id: UUID) -> None:
    """The row is gone, as in a database of before it was ordered."""
    await world.execute("SET session_replication_role = replica")
    await world.execute("DELETE FROM instances WHERE id = %s", instance_id)
    await world.execute("SET session_replication_role = origin")


async def completed(world: InstanceWorld, instance_id: UUID) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while not await world.is_closed(instance_id):
            await asyncio.sleep(0.02)
    assert (await world.handle(instance_id).describe()).status is WorkflowExecutionStatus.COMPLETED


async def listed(world: InstanceWorld, number: int) -> None:
    """Until visibility shows so many owners."""
    ids = [f"instance/{one}" for one in world.deployed]
    query = f"ExecutionStatus = 'Running' AND WorkflowId IN ({', '.join(map(repr, ids))})"
    async with asyncio.timeout(GIVE_UP_S):
        while len([one async for one in world.client.list_workflows(query)]) != number:
            await asyncio.sleep(0.05)


async def test_an_owner_without_a_row_ends_and_leaves_its_machine(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await listed(world, 1)
    await forget(world, instance_id)
    assert (await sweep(world)).owners_told == 1
    await completed(world, instance_id)
    await world.keep_history(instance_id, "row-gone-while-ready")
    assert len(world.compute.live) == 1, "who has no row decides nothing about a machine"


async def test_an_owner_in_the_middle_of_a_call_ends_with_it(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    is_called, is_over = asyncio.Event(), asyncio.Event()
    create = world.compute.create

    async def slow(spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        is_called.set()
        try:
            await asyncio.Event().wait()
        finally:
            is_over.set()
        return await create(spec, boot, first_attempt=first_attempt)

    world.compute.create = slow  # type: ignore[method-assign]
    instance_id = await world.deploy_id()
    await is_called.wait()
    await forget(world, instance_id)
    await world.handle(instance_id).signal("reread", Reread())
    await completed(world, instance_id)
    await world.keep_history(instance_id, "row-gone-in-a-call")
    assert is_over.is_set()


async def test_an_owner_of_an_instance_that_has_ended_ends(real_time_world: InstanceWorld) -> None:
    """Of an engine that was put back: it waits for news, and there will be none."""
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await listed(world, 1)
    over = "UPDATE instances SET status = 'terminated', desired_status = 'terminated', version = version + 3, terminated_at = "
    await world.execute(over + "now()")
    assert (await sweep(world)).owners_told == 0, "its owner may be about to end"
    await world.execute(over + "now() - interval '1 minute'")
    assert (await sweep(world)).owners_told == 1
    await completed(world, instance_id)


async def test_every_owner_is_told_where_the_database_is_not_as_the_last_sweep_left_it(
    real_time_world: InstanceWorld,
) -> None:
    world = real_time_world
    instances = [await world.deploy_id() for _ in range(2)]
    for one in instances:
        await world.become_ready(one)
    await listed(world, 2)
    process = Process(world)
    assert await process.tells() == 0, "the first sweep of all"
    first = process.mark
    assert await process.tells() == 0
    assert await process.tells(first) == 2, "an engine of before the last sweep"
    assert await process.tells() == 0, "once"
    await world.execute("UPDATE installation SET sweep_mark = %s", first)
    assert await process.tells() == 2, "a database of before the last sweep"
    await world.execute("UPDATE installation SET sweep_mark = NULL")
    assert await process.tells() == 2, "a database of before sweeps left marks"
    process.mark = None
    assert await process.tells() == 2, "a sweeper that was begun anew knows nothing"


async def test_an_engine_that_was_put_back_to_before_one_sweep_alone_is_noticed(real_time_world: InstanceWorld) -> None:
    """What the sweep of its second life leaves is not what the same sweep left in its first."""
    world = real_time_world
    await world.become_ready(await world.deploy_id())
    await listed(world, 1)
    process = Process(world)
    await process.tells()
    copied = process.mark
    assert await process.tells() == 0
    assert await Process(world, copied).tells() == 1


async def test_a_new_process_tells_owners_of_what_reached_them_since_the_mark(real_time_world: InstanceWorld) -> None:
    """An engine that lost the last seconds bears the mark still."""
    world = real_time_world
    quiet, reached = [await world.deploy_id() for _ in range(2)]
    for one in (quiet, reached):
        await world.become_ready(one)
    await listed(world, 2)
    process = Process(world)
    await process.tells()
    await world.execute("UPDATE outbox SET delivered_at = now() - interval '1 minute'")
    await world.execute("UPDATE outbox SET delivered_at = now() WHERE workflow_id = %s", f"instance/{reached}")
    assert await process.tells() == 0, "no engine was put back under a process that lives"
    await world.execute("UPDATE outbox SET delivered_at = now() WHERE workflow_id = %s", f"instance/{reached}")
    another = Process(world, process.mark)
    assert await another.tells() == 1
    assert await another.tells() == 0, "once"


async def test_a_sweep_whose_mark_is_left_ends_with_what_failed_of_it(real_time_world: InstanceWorld) -> None:
    """Were it tried again, it would find another mark than it knows, and tell every owner each time."""
    world = real_time_world
    await world.execute("ALTER FUNCTION purge_expired RENAME TO purge_nothing")
    try:
        result = await swept(world.sweeper(), SweepInput(is_marked=True))
        assert (result.mark is not None, result.failed_code) == (True, "INTERNAL")
    finally:
        await world.execute("ALTER FUNCTION purge_nothing RENAME TO purge_expired")


async def test_an_owner_that_is_ahead_of_its_row_goes_on_from_it(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await world.execute("UPDATE instances SET status = 'booting', version = 2, ready_at = NULL")
    await world.handle(instance_id).signal("reread", Reread())
    await world.until(instance_id, lambda row: row["status"] == "ready" and row["version"] > 2)
    assert world.compute.created == 1


async def test_a_create_whose_row_is_put_back_to_before_it_is_found_again(real_time_world: InstanceWorld) -> None:
    """The order was in the copy, and what its owner had done of it was not."""
    world = real_time_world
    create = world.compute.create
    is_made = asyncio.Event()

    async def slow_once(spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        machine = await create(spec, boot, first_attempt=first_attempt)
        if not is_made.is_set():
            is_made.set()
            await asyncio.Event().wait()
        return machine

    world.compute.create = slow_once  # type: ignore[method-assign]
    instance_id = await world.deploy_id()
    await is_made.wait()
    await world.execute("DELETE FROM worker_tokens")
    await world.execute(
        "UPDATE instances SET machine_spec = NULL, create_attempted_at = NULL, version = 0, waiting_on = NULL"
    )
    await world.execute("UPDATE operations SET status = 'pending'")
    await world.handle(instance_id).signal("reread", Reread())
    await world.become_ready(instance_id)
    await world.keep_history(instance_id, "row-of-before-the-create")
    assert world.compute.created == 1
    assert set((await world.operations(instance_id)).values()) == {"succeeded"}


async def ordered_two_hours_ago(world: InstanceWorld) -> UUID:
    """An instance whose machine has not started yet and whose owner is gone, as in a copy of that time."""
    world.compute.starts_as = MachineState.PENDING
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["provider_instance_id"] is not None)
    await listed(world, 1)
    await world.handle(instance_id).terminate("with its engine")
    await listed(world, 0)
    await world.execute(
        "UPDATE instances SET created_at = now() - interval '2 hours', create_attempted_at = now() - interval '2 hours'"
    )
    return instance_id


async def test_an_owner_that_takes_over_late_looks_before_it_gives_up(real_time_world: InstanceWorld) -> None:
    """A copy from the middle of an order, put back after its startup time: the machine has been serving for hours."""
    world = real_time_world
    instance_id = await ordered_two_hours_ago(world)
    for machine_id, machine in world.compute.live.items():
        world.compute.live[machine_id] = machine.model_copy(update={"state": MachineState.RUNNING})
    assert (await sweep(world)).owners_restarted == 1
    await world.become_ready(instance_id)
    await world.keep_history(instance_id, "taken-over-late")


async def test_one_that_takes_over_late_and_finds_nothing_that_runs_gives_up(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    instance_id = await ordered_two_hours_ago(world)
    assert (await sweep(world)).owners_restarted == 1
    row = await world.ended(instance_id)
    assert (row["error_code"], world.compute.live) == ("PROVIDER_START_TIMEOUT", {})


async def test_a_boot_overtakes_those_that_the_row_does_not_know(real_time_world: InstanceWorld) -> None:
    """The machine was reinstalled after the copy: its fifth boot refuses a second one."""
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    [machine_id] = world.compute.live
    world.compute.boots.append((machine_id, 5))
    await world.command("reinstall", instance_id)
    await world.until(instance_id, lambda row: row["generation"] == 6)
    await world.become_ready(instance_id)
    await world.keep_history(instance_id, "boot-overtakes")
    assert world.compute.boots[-1] == (machine_id, 6)
    assert (await world.operations(instance_id))["instance.reinstall"] == "succeeded"
