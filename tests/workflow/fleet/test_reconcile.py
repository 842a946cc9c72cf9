"""Machines that belong to nobody: told of once, kept until that is over, ended by an operator and by nobody else."""

import logging
from datetime import timedelta
from uuid import UUID

import pytest
from temporalio import activity, exceptions
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType
from temporalio.worker import Worker

from models.base.clock import utc_now
from models.base.errors import ProviderUnavailable
from models.base.ids import new_id
from models.contracts.fleet.reconcile import LookNow, ReconcileInput, ReconcileResult, ReconcileRounds
from models.contracts.task_queues import TaskQueue
from models.contracts.workflow_ids import reconcile_workflow_id
from models.ports.compute import BootData, Machine, MachineSpec, MachineState, Volume
from tests.replay.recording import keep_history
from tests.workflow.fleet.instances.world import COMPUTE_QUEUE, InstanceWorld
from workflows.fleet.reconcile import ReconcileWorkflow, error_code_of


async def reconcile(
    world: InstanceWorld, scenario: str | None = None, *, queue: str = COMPUTE_QUEUE
) -> ReconcileResult:
    """One round."""
    handle = await world.client.start_workflow(
        ReconcileWorkflow.run, ReconcileRounds(provider_queue=queue), id=reconcile_workflow_id(queue), task_queue=TaskQueue.ORCHESTRATION,
        execution_timeout=timedelta(minutes=15),
    )  # fmt: skip
    result = await handle.result()
    if scenario is not None:
        await keep_history(handle, scenario, world.client.data_converter.payload_codec)
    return result


async def stray(world: InstanceWorld, instance_id: UUID | None = None) -> Machine:
    """A machine of this installation that no row has: as a database from before its order sees it."""
    [installation] = await world.rows("SELECT id FROM installation")
    instance = instance_id or new_id()
    spec = MachineSpec(
        installation_id=installation["id"], organization_id=new_id(), instance_id=instance, machine_key=f"{new_id()}",
        name="stray", zone="local", instance_type="sim-l4-1-24g", model_id="m", model_code="m",
    )  # fmt: skip
    boot = BootData(
        instance_id=instance,
        control_plane_url="http://127.0.0.1:1",
        bootstrap_token="t",
        generation=1,
        model_id="m",
        model_code="m",
    )
    return await world.compute.create(spec, boot)


async def kept(world: InstanceWorld) -> dict[str, str]:
    rows = await world.rows("SELECT provider_instance_id, reason FROM unowned_machines")
    return {row["provider_instance_id"]: row["reason"] for row in rows}


async def alarms(world: InstanceWorld) -> int:
    return len(await world.rows("SELECT 1 FROM action_logs WHERE error_code = 'MACHINE_WITHOUT_OWNER'"))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    errors = [
        one for one in caplog.records if one.name == "activities.fleet.reconcile" and one.levelno >= logging.ERROR
    ]
    return [one.getMessage() for one in errors]


async def test_a_machine_without_a_row_is_told_of_once_until_it_is_gone(
    real_time_world: InstanceWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = real_time_world
    ready = await world.deploy_id()
    await world.become_ready(ready)
    assert await reconcile(world, "all-owned") == ReconcileResult(machines=1)
    lost = await stray(world)
    for _ in range(3):
        assert await reconcile(world) == ReconcileResult(machines=2, unowned=1)
    assert (await kept(world), await alarms(world)) == ({lost.provider_instance_id: "no_row"}, 1)
    [line] = told(caplog)
    assert lost.provider_instance_id in line
    assert f"quarterdeck machines end {lost.provider_instance_id}" in line
    assert lost.provider_instance_id in world.compute.live, "nobody ends it but an operator"
    await world.compute.delete(lost.provider_instance_id, lost.zone)
    assert await reconcile(world) == ReconcileResult(machines=1)
    assert await kept(world) == {}


async def test_one_that_is_unknown_in_one_list_alone_is_not_told_of(real_time_world: InstanceWorld) -> None:
    """Gone before the second list; and one that comes with the second has to be in a third."""
    world = real_time_world
    first, came = await stray(world), list[Machine]()
    listing = world.compute.page_of_machines
    looks = 0

    async def changing(installation_id: UUID, cursor: str | None = None) -> object:
        nonlocal looks
        looks += 1
        if looks == 2:
            await world.compute.delete(first.provider_instance_id, first.zone)
            came.append(await stray(world))
        return await listing(installation_id, cursor)

    world.compute.page_of_machines = changing  # type: ignore[method-assign, assignment]
    assert (await reconcile(world)).unowned == 0
    assert (looks, await kept(world)) == (2, {})
    assert (await reconcile(world)).unowned == 1
    assert list(await kept(world)) == [came[0].provider_instance_id]


async def test_what_is_being_made_or_removed_is_somebodys(real_time_world: InstanceWorld) -> None:
    """The machine exists before its create has answered; and it exists still while its removal is under way."""
    world = real_time_world
    results = list[ReconcileResult]()

    async def look() -> None:
        results.append(await reconcile(world))

    create, delete = world.compute.create, world.compute.delete

    async def watched_create(spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        machine = await create(spec, boot, first_attempt=first_attempt)
        await look()
        return machine

    async def watched_delete(provider_instance_id: str, zone: str) -> None:
        await look()
        await delete(provider_instance_id, zone)

    world.compute.create, world.compute.delete = watched_create, watched_delete  # type: ignore[method-assign]
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id)
    assert results == [ReconcileResult(machines=1), ReconcileResult(machines=1)]
    assert await reconcile(world) == ReconcileResult()


async def test_a_second_machine_of_an_instance_and_one_of_a_finished_one(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    lives, finished = await world.deploy_id(), await world.deploy_id()
    for one in (lives, finished):
        await world.become_ready(one)
    async with world.beating(finished):
        await world.command("terminate", finished)
        await world.ended(finished)
    twin, late = await stray(world, lives), await stray(world, finished)
    assert (await reconcile(world)).unowned == 2
    assert await kept(world) == {twin.provider_instance_id: "surplus", late.provider_instance_id: "row_finished"}
    logged = await world.rows("SELECT instance_id FROM action_logs WHERE error_code = 'MACHINE_WITHOUT_OWNER'")
    assert {row["instance_id"] for row in logged} == {lives, finished}


async def test_one_that_has_an_owner_again_is_forgotten(real_time_world: InstanceWorld) -> None:
    """As when the newer database is put back after all."""
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    twin = await stray(world, instance_id)
    assert (await reconcile(world)).unowned == 1
    await world.execute("UPDATE unowned_machines SET end_requested_at = now()")
    await world.execute(
        "UPDATE instances SET provider_instance_id = %s WHERE id = %s", twin.provider_instance_id, instance_id
    )
    result = await reconcile(world)
    assert (result.ended, twin.provider_instance_id in world.compute.live) == (0, True)
    assert twin.provider_instance_id not in await kept(world)


async def test_an_operator_ends_one_with_what_it_brought(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    lost = await stray(world)
    now = utc_now()
    for name, goes in (("goes", True), ("stays", False)):
        world.compute.add_volume(
            Volume(
                provider_volume_id=name, name=name, volume_type="ssd", size_gb=1, is_boot=False, delete_on_terminate=goes,
                attached_to=lost.provider_instance_id, created_at=now, billed_from=now,
            )
        )  # fmt: skip
    assert await reconcile(world, "one-unowned") == ReconcileResult(machines=1, unowned=1)
    await world.execute("UPDATE unowned_machines SET end_requested_at = now()")
    world.compute.script["delete_volume"] = [ProviderUnavailable("not now")]
    assert await reconcile(world) == ReconcileResult(machines=1, unowned=1), "its volume is still there"
    assert lost.provider_instance_id not in world.compute.live
    assert lost.provider_instance_id in await kept(world)
    assert (await reconcile(world, "one-ended")).ended == 1
    assert (await kept(world), set(world.compute.volumes)) == ({}, {"stays"})
    assert await world.rows("SELECT 1 FROM action_logs WHERE action_type = 'UNOWNED_MACHINE_ENDED'")


async def test_of_an_instance_that_lives_only_the_second_machines_volumes_go(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    [owned] = world.compute.live
    twin = await stray(world, instance_id)
    now = utc_now()
    for machine_id in (owned, twin.provider_instance_id):
        world.compute.add_volume(
            Volume(
                provider_volume_id=f"of {machine_id}", name="v", volume_type="ssd", size_gb=1, is_boot=False,
                delete_on_terminate=True, attached_to=machine_id, created_at=now, billed_from=now,
            )
        )  # fmt: skip
    await reconcile(world)
    await world.execute("UPDATE unowned_machines SET end_requested_at = now()")
    assert (await reconcile(world)).ended == 1
    assert (set(world.compute.live), set(world.compute.volumes)) == ({owned}, {f"of {owned}"})


async def test_one_that_was_taken_back_is_no_news(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    lost = await stray(world)
    world.compute.live[lost.provider_instance_id] = lost.model_copy(update={"state": MachineState.PREEMPTED})
    assert await reconcile(world) == ReconcileResult(machines=1)


async def test_a_provider_that_does_not_answer_is_told_of_once_and_nothing_is_forgotten(
    real_time_world: InstanceWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = real_time_world
    lost = await stray(world)
    await reconcile(world)
    caplog.clear()
    world.compute.script["page_of_machines"] = [ProviderUnavailable("no answer") for _ in range(3)]
    for _ in range(3):
        assert await reconcile(world) == ReconcileResult(error_code="PROVIDER_UNAVAILABLE")
    assert await kept(world) == {lost.provider_instance_id: "no_row"}
    [line] = told(caplog)
    assert COMPUTE_QUEUE in line
    assert "PROVIDER_UNAVAILABLE" in line
    assert (await reconcile(world)).unowned == 1
    assert len(told(caplog)) == 1


@activity.defn(name="reconcile_machines")
async def broken(_request: ReconcileInput) -> ReconcileResult:
    raise ApplicationError("a defect", type="BROKEN", non_retryable=True)


async def test_what_no_worker_of_the_provider_comes_to_the_end_of_is_told_of_by_another(
    real_time_world: InstanceWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = real_time_world
    async with Worker(world.client, task_queue="cloud-away", activities=[broken]):
        for scenario in (None, "no-list"):
            assert (await reconcile(world, scenario, queue="cloud-away")).error_code is not None
    assert (await reconcile(world)).error_code is None, "the others are looked at meanwhile"
    [line] = told(caplog)
    assert "cloud-away cannot be listed" in line


def test_that_nobody_takes_a_comparison_up_is_said_as_such() -> None:
    def failed_with(cause: BaseException) -> ActivityError:
        failure = ActivityError(
            "failed",
            scheduled_event_id=1,
            started_event_id=1,
            identity="",
            activity_type="",
            activity_id="",
            retry_state=None,
        )
        failure.__cause__ = cause
        return failure

    def timed_out(kind: TimeoutType) -> ActivityError:
        return failed_with(exceptions.TimeoutError("late", type=kind, last_heartbeat_details=[]))

    assert error_code_of(timed_out(TimeoutType.SCHEDULE_TO_START)) == "NO_WORKER"
    assert error_code_of(timed_out(TimeoutType.HEARTBEAT)) == "DEADLINE_EXCEEDED"


async def test_ten_thousand_machines_take_a_question_for_each_page(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    [(owned, machine)] = world.compute.live.items()
    for number in range(10_000):
        twin = machine.model_copy(update={"provider_instance_id": f"fake-many-{number:05}"})
        world.compute.add_twin(twin, owned)
    await world.execute("UPDATE instances SET status = 'terminating'")  # whose removal looks for all of them
    world.compute.page = 500
    assert await reconcile(world) == ReconcileResult(machines=10_001)
    assert world.compute.calls.count("page_of_machines") == 21


async def test_it_looks_at_once_when_it_is_asked(real_time_world: InstanceWorld) -> None:
    """The beat is two minutes: only being asked explains a second look."""
    world = real_time_world
    handle = await world.client.start_workflow(
        ReconcileWorkflow.run, ReconcileRounds(is_endless=True, provider_queue=COMPUTE_QUEUE), id=reconcile_workflow_id(COMPUTE_QUEUE),
        task_queue=TaskQueue.ORCHESTRATION,
    )  # fmt: skip
    try:
        await world.until_called("page_of_machines", 1)
        await handle.signal("look", LookNow())
        await world.until_called("page_of_machines", 2)
        await keep_history(handle, "endless-asked", world.client.data_converter.payload_codec)
    finally:
        await handle.terminate("the test is over")
