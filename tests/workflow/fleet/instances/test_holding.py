"""What an owner holds for stands on its row, with the time since when, as long as it lasts and no longer (DESIGN rule 7)."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from activities.runtime.plugin import platform_plugin
from models.base.errors import (
    AppError,
    NotFound,
    ProviderAuth,
    ProviderThrottled,
    ProviderUnavailable,
    ServiceUnavailable,
)
from models.contracts.fleet.instances import InstanceInput, Projection
from models.contracts.operations import Held
from models.contracts.task_queues import TaskQueue
from models.domain.holds import HoldCode
from models.ports.compute import MachineState
from tests.patience import GIVE_UP_S
from tests.servers import TEST_CODEC_KEY, TestDatabase, running_temporal
from tests.workflow.details import current_details
from tests.workflow.fleet.instances.world import InstanceWorld, instance_world
from tests.workflow.test_sweeper import sweep

MANY = 10_000
PRIVATE = "the provider's own words"
LONG_AGO, LATER = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2026, 1, 2, 3, 5, tzinfo=UTC)


def held_by(code: str | None) -> Callable[[dict[str, Any]], bool]:
    return lambda row: row["held_code"] == code


@contextmanager
def refusing(
    world: InstanceWorld, call: str, error: Exception, only: Callable[[Any], bool] = lambda _: True
) -> Iterator[None]:
    """A transaction of the owner is refused in this block, where its request is meant."""
    allowed = getattr(world.instance_rows, call)

    async def refuse(request: Any) -> Any:
        if only(request):
            raise error
        return await allowed(request)

    setattr(world.instance_rows, call, refuse)
    try:
        yield
    finally:
        setattr(world.instance_rows, call, allowed)


async def test_a_provider_that_refuses_is_named_until_it_answers(world: InstanceWorld) -> None:
    world.compute.starts_as = MachineState.PENDING
    world.compute.script["describe"] = [ProviderAuth(PRIVATE)] * MANY
    instance_id = await world.deploy_id()
    first = await world.until(instance_id, held_by("PROVIDER_AUTH"))
    looks = world.compute.calls.count("describe")
    await world.until(instance_id, lambda _: world.compute.calls.count("describe") > looks + 2, skipping_s=10)
    again = await world.row(instance_id)
    assert (again["held_code"], again["held_since"]) == ("PROVIDER_AUTH", first["held_since"])
    [operation] = await world.rows("SELECT * FROM operations")
    assert (operation["held_code"], operation["held_since"]) == ("PROVIDER_AUTH", first["held_since"])
    events = await world.rows("SELECT data FROM events WHERE stream LIKE 'operation/%%'")
    assert "PROVIDER_AUTH" in {event["data"]["held"] for event in events}
    assert PRIVATE not in str((again, operation, events))
    since = f"{first['held_since'].astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    assert f"held by PROVIDER_AUTH since {since}" in await current_details(world.handle(instance_id))

    world.compute.script["describe"] = []
    for machine_id, machine in world.compute.live.items():
        world.compute.live[machine_id] = machine.model_copy(update={"state": MachineState.RUNNING})
    row = await world.until(instance_id, lambda row: row["status"] == "booting", skipping_s=10)
    assert (row["held_code"], row["held_since"]) == (None, None)
    assert "held" not in await current_details(world.handle(instance_id))
    await world.keep_history(instance_id, "held-by-a-provider-that-refuses")


async def test_another_reason_is_the_same_hold(world: InstanceWorld) -> None:
    world.compute.starts_as = MachineState.PENDING
    world.compute.script["describe"] = [ProviderAuth("revoked")] * MANY
    instance_id = await world.deploy_id()
    first = await world.until(instance_id, held_by("PROVIDER_AUTH"))
    world.compute.script["describe"] = [NotFound("what no adapter should say", code="SOMETHING_ELSE")] * MANY
    other = await world.until(instance_id, held_by("PROVIDER_ERROR"), skipping_s=10)
    assert other["held_since"] == first["held_since"], "it has not moved since"


@pytest.mark.parametrize(
    ("error", "code"),
    [(AppError(PRIVATE), "INTERNAL"), (ServiceUnavailable(PRIVATE), "SERVICE_UNAVAILABLE"), (ProviderThrottled(PRIVATE), "PROVIDER_THROTTLED")],
    ids=["defect", "service", "provider"],
)  # fmt: skip
async def test_what_nobody_expected_is_said_too_and_ends_with_the_next_good_pass(
    world: InstanceWorld, error: AppError, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(error), "retryable", False)
    with refusing(world, "freeze_spec", error):
        instance_id = await world.deploy_id()
        row = await world.until(instance_id, held_by(code))
        assert (row["status"], row["waiting_on"]) == ("provisioning", "OWNER"), "the wait itself stays"
        await world.skip(65)
        assert (await world.row(instance_id))["held_since"] == row["held_since"]
        assert PRIVATE not in str(row)
    row = await world.until(instance_id, lambda row: row["status"] == "booting", skipping_s=10)
    assert row["held_code"] is None
    await world.keep_history(instance_id, f"held-by-{code.lower().replace('_', '-')}")


async def test_an_owner_that_waits_for_news_again_is_not_held(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    with refusing(world, "load", AppError("a defect")):
        await world.handle(instance_id).signal("observed", {"edge": "phase"})
        await world.until(instance_id, held_by("INTERNAL"))
    row = await world.until(instance_id, held_by(None), skipping_s=10)
    assert (row["status"], row["waiting_on"]) == ("ready", None)
    await world.keep_history(instance_id, "held-while-ready")


async def test_a_row_that_takes_no_word_of_it_makes_nothing_worse(world: InstanceWorld) -> None:
    def is_word_of_hold(change: Projection) -> bool:
        return change.keeps_waiting

    written = 0

    def count(change: Projection) -> bool:
        nonlocal written
        written += is_word_of_hold(change)
        return is_word_of_hold(change)

    with refusing(world, "freeze_spec", AppError("a defect")), refusing(world, "apply", AppError("another"), count):
        instance_id = await world.deploy_id()
        async with asyncio.timeout(GIVE_UP_S):
            while written < 3:
                await world.skip(10)
        row = await world.row(instance_id)
        assert (row["status"], row["held_code"]) == ("provisioning", None)
        assert "held by INTERNAL since" in await current_details(world.handle(instance_id)), (
            "the operator's page says it all the same"
        )
    await world.until(instance_id, lambda row: row["status"] == "booting", skipping_s=10)
    await world.keep_history(instance_id, "held-and-not-able-to-say-so")


async def test_the_end_of_a_hold_that_could_not_be_written_is_written_later_without_news(world: InstanceWorld) -> None:
    """No news may come for months, and the row of an instance that serves would say that it is held."""
    refused = 0

    def is_the_end(change: Projection) -> bool:
        nonlocal refused
        is_end = change.keeps_waiting and change.held is None
        refused += is_end
        return is_end

    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    with refusing(world, "apply", AppError("another"), is_the_end):
        with refusing(world, "load", AppError("a defect")):
            await world.handle(instance_id).signal("observed", {"edge": "phase"})
            await world.until(instance_id, held_by("INTERNAL"))
        await world.until(instance_id, lambda _: refused > 0, skipping_s=10)
    row = await world.until(instance_id, held_by(None), skipping_s=10)
    assert (row["status"], row["waiting_on"]) == ("ready", None)
    await world.keep_history(instance_id, "held-while-ready-and-not-able-to-say-that-it-is-over")


async def test_a_deletion_that_is_refused_is_held_until_it_is_done(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["status"] == "booting")
    world.compute.script["delete"] = [ProviderUnavailable(PRIVATE)] * MANY
    await world.command("terminate", instance_id)
    row = await world.until(instance_id, held_by("PROVIDER_UNAVAILABLE"), skipping_s=10)
    assert row["status"] == "terminating"
    world.compute.script["delete"] = []
    row = await world.ended(instance_id, skipping_s=10)
    assert (row["held_code"], row["held_since"]) == (None, None)
    assert await world.rows("SELECT 1 FROM operations WHERE held_code IS NOT NULL") == []


async def test_a_machine_that_stays_after_its_deletion_is_a_hold(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["status"] == "booting")
    world.compute.keeps_deleted = 30
    await world.command("terminate", instance_id)
    await world.until(instance_id, held_by("DELETION_PENDING"), skipping_s=5)
    assert (await world.ended(instance_id, skipping_s=10))["held_code"] is None


async def test_what_a_failed_create_left_is_a_hold_until_it_is_gone(world: InstanceWorld) -> None:
    world.compute.script["create"] = [ProviderAuth("made, and then refused", details={"created": True})]
    world.compute.script["delete"] = [ProviderUnavailable("away")] * MANY
    instance_id = await world.deploy_id()
    row = await world.until(instance_id, held_by("PROVIDER_UNAVAILABLE"), skipping_s=10)
    assert (row["status"], row["error_code"]) == ("failed", "MISSING_PROVIDER_CREDENTIALS")
    world.compute.script["delete"] = []
    row = await world.until(instance_id, held_by(None), skipping_s=10)
    assert not world.compute.live


async def test_a_silent_instance_whose_provider_is_silent_too_is_held(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    world.compute.script["describe"] = [ProviderAuth("revoked")] * MANY
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    first = await world.until(instance_id, held_by("PROVIDER_AUTH"), skipping_s=30)
    assert first["status"] == "unavailable"
    looks = world.compute.calls.count("describe")
    await world.until(instance_id, lambda _: world.compute.calls.count("describe") > looks + 1, skipping_s=30)
    row = await world.row(instance_id)
    assert (row["held_code"], row["held_since"]) == ("PROVIDER_AUTH", first["held_since"]), (
        "also while it waits to look again"
    )
    await world.agent_says(instance_id, "serving", "ready")
    row = await world.until(instance_id, lambda row: row["status"] == "ready", skipping_s=5)
    assert row["held_code"] is None, "its agent is back: nothing is asked of the provider any more"
    await world.keep_history(instance_id, "held-while-unavailable")


async def test_an_owner_that_takes_over_knows_since_when(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    world.compute.starts_as = MachineState.PENDING
    world.compute.script["describe"] = [ProviderAuth("revoked")] * MANY
    instance_id = await world.deploy_id()
    first = await world.until(instance_id, held_by("PROVIDER_AUTH"))
    await world.handle(instance_id).terminate("by mistake")
    await world.execute("UPDATE instances SET created_at = now() - interval '1 minute'")
    looks = world.compute.calls.count("describe")
    assert (await sweep(world)).owners_restarted == 1
    await world.until_called("describe", looks + 1)
    await world.until(instance_id, lambda row: row["version"] > first["version"])
    row = await world.row(instance_id)
    assert (row["held_code"], row["held_since"]) == ("PROVIDER_AUTH", first["held_since"])


@pytest.mark.parametrize(("carried", "on_row"), [(LONG_AGO, None), (LATER, LONG_AGO), (LONG_AGO, LATER)])
async def test_of_a_hold_the_earliest_that_run_or_row_know_of_stands(
    real_time_world: InstanceWorld, carried: datetime, on_row: datetime | None
) -> None:
    """The row may not have heard of it; and a run whose last decision was lost with its worker takes it anew, and later."""
    world = real_time_world
    world.compute.starts_as = MachineState.PENDING
    world.compute.script["describe"] = [ProviderAuth("revoked")] * MANY
    ordered = await world.deploy(deliver=False)
    start = InstanceInput(
        instance_id=ordered.instance_id,
        organization_id=world.principal.organization_id,
        held=Held(code=HoldCode.INTERNAL, since=carried),
    )
    if on_row is not None:
        await world.execute("UPDATE instances SET held_code = 'INTERNAL', held_since = %s", on_row)
    with refusing(world, "freeze_spec", AppError("a defect")):
        await world.client.start_workflow(
            "Instance", start, id=f"instance/{ordered.instance_id}", task_queue=TaskQueue.ORCHESTRATION
        )
        async with asyncio.timeout(GIVE_UP_S):
            while "held by" not in (page := await current_details(world.handle(ordered.instance_id))):
                await asyncio.sleep(0.05)
        row = await world.until(ordered.instance_id, lambda row: row["held_since"] == LONG_AGO)
    assert row["held_code"] == "INTERNAL"
    assert f"held by INTERNAL since {LONG_AGO:%Y-%m-%d %H:%M:%S} UTC" in page


async def test_a_hold_survives_continue_as_new(database: TestDatabase, tmp_path: Path) -> None:
    """The row is made to forget it, so that only the input of the next run can know."""
    with running_temporal(tmp_path, dynamic_values=("limit.historyCount.suggestContinueAsNew=12",)) as server:
        client = await Client.connect(server.address, plugins=[platform_plugin(TEST_CODEC_KEY)])
        async with instance_world(database, WorkflowEnvironment.from_client(client)) as world:
            world.compute.starts_as = MachineState.PENDING
            world.compute.script["describe"] = [ProviderAuth("revoked")] * MANY
            instance_id = await world.deploy_id()
            begun = await world.until(instance_id, held_by("PROVIDER_AUTH"))
            await world.handle(instance_id).signal("observed", {"edge": "phase"})
            first = await world.until(instance_id, lambda row: row["version"] > begun["version"])
            runs = {(await world.handle(instance_id).describe()).run_id}
            async with asyncio.timeout(GIVE_UP_S):
                while len(runs) < 3:
                    await world.execute("UPDATE instances SET held_code = NULL, held_since = NULL")
                    await world.handle(instance_id).signal("observed", {"edge": "phase"})
                    runs.add((await world.handle(instance_id).describe()).run_id)
                    await asyncio.sleep(0.05)
            row = await world.until(instance_id, held_by("PROVIDER_AUTH"))
    assert row["held_since"] == first["held_since"]
