"""A call at the provider that does not come back: its owner says why, as far as the server knows, while it goes on waiting."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from temporalio.api.enums.v1 import PendingActivityState, TimeoutType
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.testing import ActivityEnvironment

from activities import pending_calls
from activities.pending_calls import PendingCallActivities, view_of
from activities.runtime.heartbeat import Heartbeat
from models.base.errors import (
    DATABASE_UNAVAILABLE,
    AppError,
    ProviderAuth,
    ProviderThrottled,
    ProviderUnavailable,
    ServiceUnavailable,
)
from models.contracts.pending_calls import AttemptHeld, CallView, PendingCall
from models.domain.holds import HoldCode
from models.ports.compute import BootData, Machine, MachineSpec
from tests.patience import GIVE_UP_S
from tests.workflow.details import current_details
from tests.workflow.fleet.instances.test_holding import MANY, held_by
from tests.workflow.fleet.instances.world import InstanceWorld

NOW = datetime(2026, 1, 31, 10, tzinfo=UTC)
STARTED, SCHEDULED = (
    PendingActivityState.PENDING_ACTIVITY_STATE_STARTED,
    PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED,
)


def pending(state: PendingActivityState.ValueType, for_s: float, error: str | None = None) -> PendingActivityInfo:
    info = PendingActivityInfo(state=state, attempt=3 if error else 1)
    info.last_started_time.FromDatetime(NOW - timedelta(seconds=for_s))
    if error is not None and error.startswith("TIMEOUT_TYPE_"):
        info.last_failure.timeout_failure_info.timeout_type = TimeoutType.Value(error)
    elif error is not None:
        info.last_failure.application_failure_info.type = error
    return info


@pytest.mark.parametrize(
    ("found", "held"),
    [
        (pending(STARTED, 100), None),
        (pending(SCHEDULED, 0), HoldCode.NO_WORKER),
        (pending(SCHEDULED, 5, "PROVIDER_THROTTLED"), HoldCode.PROVIDER_THROTTLED),
        (pending(STARTED, 5, "PROVIDER_UNAVAILABLE"), HoldCode.PROVIDER_UNAVAILABLE),
        (pending(STARTED, 31, "PROVIDER_UNAVAILABLE"), None),
        (pending(SCHEDULED, 5, "SomeError"), HoldCode.PROVIDER_ERROR),
        (pending(SCHEDULED, 5, "INTERNAL"), HoldCode.INTERNAL),
        (pending(SCHEDULED, 5, "SERVICE_UNAVAILABLE"), HoldCode.SERVICE_UNAVAILABLE),
        (pending(SCHEDULED, 5, "DATABASE_UNAVAILABLE"), HoldCode.SERVICE_UNAVAILABLE),
        (pending(SCHEDULED, 5, "DATABASE_BUSY"), HoldCode.SERVICE_UNAVAILABLE),
        (pending(SCHEDULED, 9, "TIMEOUT_TYPE_HEARTBEAT"), HoldCode.NO_WORKER),
        (pending(SCHEDULED, 9, "TIMEOUT_TYPE_START_TO_CLOSE"), HoldCode.PROVIDER_UNAVAILABLE),
    ],
)  # fmt: skip
def test_what_an_attempt_says(found: PendingActivityInfo, held: HoldCode | None) -> None:
    assert view_of(found, NOW) == CallView(is_known=True, held=held)


async def test_a_create_that_is_tried_again_and_again_says_why(world: InstanceWorld) -> None:
    world.compute.script["create"] = [ProviderUnavailable("private words")] * MANY
    instance_id = await world.deploy_id()
    row = await world.until(instance_id, held_by("PROVIDER_UNAVAILABLE"), skipping_s=10)
    assert (row["status"], row["waiting_on"]) == ("provisioning", "MACHINE_CREATED")
    assert row["held_since"] - row["create_attempted_at"] < timedelta(minutes=5)
    assert "held by PROVIDER_UNAVAILABLE" in await current_details(world.handle(instance_id))
    world.compute.script["create"] = [ProviderThrottled("private words")] * MANY
    other = await world.until(instance_id, held_by("PROVIDER_THROTTLED"), skipping_s=10)
    assert other["held_since"] == row["held_since"]
    world.compute.script["create"] = []
    row = await world.until(instance_id, lambda row: row["status"] == "booting", skipping_s=10)
    assert row["held_code"] is None
    assert world.compute.created == 1
    await world.keep_history(instance_id, "create-tried-again-and-again")


async def looked_at(world: InstanceWorld, instance_id: UUID) -> CallView:
    """What the activity finds of the owner's call, once it makes one."""
    await world.until(instance_id, lambda row: row["waiting_on"] == "MACHINE_CREATED")
    description = await world.handle(instance_id).describe()
    environment = ActivityEnvironment(client=world.client)
    environment.info = replace(
        environment.info, workflow_id=f"instance/{instance_id}", workflow_run_id=description.run_id
    )
    call = PendingCall(instance_id=instance_id, now=datetime.now(UTC))
    async with asyncio.timeout(GIVE_UP_S):
        while not (view := await environment.run(PendingCallActivities().look_at_pending_call, call)).is_known:
            await asyncio.sleep(0.05)
    return view


async def test_the_server_knows_of_a_call_that_nobody_takes_up(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    ordered = await world.deploy(deliver=False)
    await world.execute("UPDATE instances SET provider_code = 'nobodys'")
    await world.delivery.deliver(ordered.message)
    assert (await looked_at(world, ordered.instance_id)).held is HoldCode.NO_WORKER


async def test_the_server_knows_why_a_call_is_tried_again(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    world.compute.script["create"] = [ProviderThrottled("private words")] * MANY
    instance_id = await world.deploy_id()
    await world.until_called("create", 2)
    assert (await looked_at(world, instance_id)).held is HoldCode.PROVIDER_THROTTLED


async def test_a_slow_call_that_is_worked_on_is_no_hold(real_time_world: InstanceWorld) -> None:
    world, reached, go_on = real_time_world, asyncio.Event(), asyncio.Event()
    create = world.compute.create

    async def slow_create(spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        reached.set()
        await go_on.wait()
        return await create(spec, boot, first_attempt=first_attempt)

    world.compute.create = slow_create  # type: ignore[method-assign]
    instance_id = await world.deploy_id()
    await reached.wait()
    assert await looked_at(world, instance_id) == CallView(is_known=True)
    go_on.set()
    await world.until(instance_id, lambda row: row["status"] == "booting")


async def test_an_attempt_that_waits_as_its_provider_asked_says_so(real_time_world: InstanceWorld) -> None:
    """It may do so for longer than one request lasts, and nothing of it has failed."""
    world, reached, go_on = real_time_world, asyncio.Event(), asyncio.Event()
    create = world.compute.create

    async def waiting_create(spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        beat = Heartbeat.current()
        assert beat is not None
        beat.details = (AttemptHeld(code=HoldCode.PROVIDER_THROTTLED),)
        beat.now()
        reached.set()
        await go_on.wait()
        return await create(spec, boot, first_attempt=first_attempt)

    world.compute.create = waiting_create  # type: ignore[method-assign]
    instance_id = await world.deploy_id()
    await reached.wait()
    async with asyncio.timeout(GIVE_UP_S):
        while (await looked_at(world, instance_id)).held is not HoldCode.PROVIDER_THROTTLED:
            await asyncio.sleep(0.1)
    go_on.set()
    await world.until(instance_id, lambda row: row["status"] == "booting")


async def test_an_order_that_ran_out_of_time_names_the_last_answer_of_its_provider(world: InstanceWorld) -> None:
    world.compute.script["create"] = [ProviderThrottled("slow down")] * MANY
    instance_id = await world.deploy_id()
    row = await world.until(instance_id, lambda row: row["status"] == "failed", skipping_s=300)
    assert (row["error_code"], row["error_message"]) == ("PROVIDER_CREATE_FAILED", "slow down")


async def test_a_removal_says_of_no_machine_that_it_exists_before_one_was_seen(world: InstanceWorld) -> None:
    world.compute.script["create"] = [ProviderAuth("revoked")]
    world.compute.script["find"] = [ProviderThrottled("slow down")] * MANY
    instance_id = await world.deploy_id()
    row = await world.until(instance_id, held_by("PROVIDER_THROTTLED"), skipping_s=30)
    assert (row["waiting_on"], row["waiting_params"]) == ("MACHINE_UNKNOWN", {"error_code": "PROVIDER_THROTTLED"})
    await world.command("terminate", instance_id)
    row = await world.until(instance_id, lambda row: row["error_code"] == "TERMINATION_PENDING", skipping_s=30)
    assert "still exists" not in row["error_message"]
    assert "PROVIDER_THROTTLED" in row["error_message"]
    world.compute.script["find"] = []
    await world.ended(instance_id, skipping_s=10)


async def test_a_call_that_fares_well_again_holds_nobody(world: InstanceWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while it has not come back, and whatever the server knows by then."""
    world.compute.script["create"] = [ProviderUnavailable("away")] * MANY
    instance_id = await world.deploy_id()
    first = await world.until(instance_id, held_by("PROVIDER_UNAVAILABLE"), skipping_s=10)
    asked = 0

    def answer(view: CallView) -> None:
        nonlocal asked
        asked = 0

        def view_of(pending: PendingActivityInfo, now: datetime) -> CallView:
            nonlocal asked
            asked += 1
            return view

        monkeypatch.setattr(pending_calls, "view_of", view_of)

    answer(CallView(is_known=False))
    row = await world.until(instance_id, lambda _: asked == 1, skipping_s=10)
    assert (row["held_code"], row["version"]) == ("PROVIDER_UNAVAILABLE", first["version"])
    answer(CallView(is_known=True))
    row = await world.until(instance_id, held_by(None), skipping_s=10)
    assert (row["status"], row["waiting_on"]) == ("provisioning", "MACHINE_CREATED")
    version = row["version"]
    row = await world.until(instance_id, lambda _: asked == 2, skipping_s=30)
    assert row["version"] == version, "what is as before is not written again"
    await world.keep_history(instance_id, "a-call-that-fares-well-again")


async def test_a_call_that_our_own_database_failed_is_not_the_providers_fault_and_ends_like_any(
    world: InstanceWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.compute.script["create"] = [ServiceUnavailable("away", code=DATABASE_UNAVAILABLE)] * MANY
    instance_id = await world.deploy_id()
    await world.until(instance_id, held_by("SERVICE_UNAVAILABLE"), skipping_s=10)
    monkeypatch.setattr(pending_calls, "view_of", lambda _pending, _now: CallView(is_known=True))
    row = await world.until(instance_id, held_by(None), skipping_s=30)
    assert (row["status"], row["waiting_on"]) == ("provisioning", "MACHINE_CREATED")


async def test_a_look_that_fails_leaves_the_call_alone(world: InstanceWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = 0

    def view_of(pending: PendingActivityInfo, now: datetime) -> CallView:
        nonlocal failed
        failed += 1
        raise AppError("a defect")

    monkeypatch.setattr(pending_calls, "view_of", view_of)
    world.compute.script["create"] = [ProviderUnavailable("away")] * MANY
    instance_id = await world.deploy_id()
    row = await world.until(instance_id, lambda _: failed == 2, skipping_s=10)
    assert row["held_code"] is None
    world.compute.script["create"] = []
    await world.until(instance_id, lambda row: row["status"] == "booting", skipping_s=10)
    assert world.compute.created == 1


async def test_a_server_that_refuses_to_tell_is_not_to_know(real_time_world: InstanceWorld) -> None:
    environment = ActivityEnvironment(client=real_time_world.client)
    environment.info = replace(environment.info, workflow_id="instance/nobodys", workflow_run_id=str(uuid4()))
    call = PendingCall(instance_id=uuid4(), now=NOW)
    assert await environment.run(PendingCallActivities().look_at_pending_call, call) == CallView(is_known=False)


async def test_a_termination_is_heard_after_looks_as_before(world: InstanceWorld) -> None:
    world.compute.script["create"] = [ProviderUnavailable("away")] * MANY
    instance_id = await world.deploy_id()
    await world.until(instance_id, held_by("PROVIDER_UNAVAILABLE"), skipping_s=10)
    await world.command("terminate", instance_id)
    await world.until(instance_id, lambda row: row["status"] == "terminating")
    calls = world.compute.calls.count("create")
    await world.until_called("find", 1)
    assert (world.compute.calls.count("create"), world.compute.live) == (calls, {})
    await world.keep_history(instance_id, "terminated-while-a-call-is-looked-at")
