"""What every owner gets from `workflows/lib`, shown with one that is no instance's."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from activities.runtime.plugin import platform_plugin
from models.base.errors import AppError
from models.contracts.operations import Command, Held
from models.domain.holds import HoldCode
from models.domain.operations import OperationStatus
from tests.patience import GIVE_UP_S
from tests.servers import TEST_CODEC_KEY
from tests.workflow.details import current_details
from tests.workflow.lamps import Lamp, LampInput, LampOwner, LampWorkflow, Phase, lamp_workers
from workers.embedded.temporal import TemporalServer
from workflows import options

DAY_S = 24 * 3600.0
A_YEAR = 365


@pytest.fixture
async def lamp(environment: WorkflowEnvironment) -> AsyncIterator[Lamp]:
    async with lamp_workers(environment.client) as activities:
        yield Lamp(environment.client, activities)


@pytest.fixture
async def real_time_lamp(temporal_dev: TemporalServer) -> AsyncIterator[Lamp]:
    client = await Client.connect(temporal_dev.address, plugins=[platform_plugin(TEST_CODEC_KEY)])
    async with lamp_workers(client) as activities:
        yield Lamp(client, activities)


async def ended(lamp: Lamp) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while (await lamp.handle.describe()).status is WorkflowExecutionStatus.RUNNING:
            await asyncio.sleep(0.01)
    assert (await lamp.handle.describe()).status is WorkflowExecutionStatus.COMPLETED


def burning(row: Any) -> bool:
    return row.status is Phase.BURNING


async def test_it_is_lit_and_put_out_and_its_command_is_done(lamp: Lamp) -> None:
    await lamp.order()
    await lamp.until(burning)
    operation_id = await lamp.command()
    await ended(lamp)
    assert (lamp.row.status, lamp.activities.moved) == (Phase.OUT, {operation_id: OperationStatus.SUCCEEDED})


async def test_a_command_that_comes_while_a_call_is_under_way_ends_the_call_first(real_time_lamp: Lamp) -> None:
    lamp, reached, is_over = real_time_lamp, asyncio.Event(), asyncio.Event()

    async def never_lit() -> None:
        reached.set()
        try:
            while True:
                activity.heartbeat()
                await asyncio.sleep(0.05)
        finally:
            assert lamp.row.status is Phase.ORDERED, "nothing is done behind a call's back"
            is_over.set()

    lamp.activities.outside = never_lit
    await lamp.order()
    await reached.wait()
    await lamp.command()
    await ended(lamp)
    assert is_over.is_set()
    assert lamp.row.status is Phase.OUT


async def test_what_is_refused_outside_is_a_hold_on_the_row_until_it_works(
    lamp: Lamp, environment: WorkflowEnvironment
) -> None:
    def refuse() -> None:
        raise AppError("wet", code="MATCH_WET")

    lamp.activities.outside = refuse
    await lamp.order()
    await lamp.until(lambda row: row.held is not None)
    assert lamp.row.held is not None
    since = lamp.row.held.since
    assert lamp.row.held.code is HoldCode.PROVIDER_ERROR
    assert "waiting for a match, held by PROVIDER_ERROR" in await current_details(lamp.handle)
    await environment.sleep(2 * options.PROVIDER_PAUSE_S)
    assert lamp.row.held.since == since
    lamp.activities.outside = lambda: None
    await lamp.until(burning, lambda: environment.sleep(options.PROVIDER_PAUSE_S))
    assert lamp.row.held is None


async def test_what_nobody_expected_is_a_hold_too_and_ends_nothing(
    lamp: Lamp, environment: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AppError, "retryable", False)
    await lamp.order()
    await lamp.until(burning)
    lamp.activities.refuses = AppError("a defect")
    await lamp.wake()
    await lamp.until(lambda row: row.held is not None)
    assert lamp.row.held is not None
    assert lamp.row.held.code is HoldCode.INTERNAL
    assert lamp.activities.projections[-1].keeps_waiting
    lamp.activities.refuses = None
    await lamp.until(lambda row: row.held is None, lambda: environment.sleep(options.HOLD_S))
    assert burning(lamp.row)


async def test_a_cancellation_from_outside_ends_nothing(lamp: Lamp) -> None:
    await lamp.order()
    await lamp.until(burning)
    await lamp.handle.cancel()
    await lamp.wake()
    await lamp.command()
    await ended(lamp)
    assert lamp.row.status is Phase.OUT


async def test_an_owner_without_a_row_ends(lamp: Lamp) -> None:
    await lamp.order()
    await lamp.until(burning)
    del lamp.activities.rows[lamp.id]
    await lamp.wake()
    await ended(lamp)


async def test_a_command_that_was_heard_before_makes_the_owner_look_again(lamp: Lamp) -> None:
    await lamp.order()
    await lamp.until(burning)
    again = Command(operation_id=uuid4())
    await lamp.handle.signal("command", again)
    lamp.activities.change(lamp.id, flickers=True)
    await lamp.handle.signal("command", again)
    await lamp.until(lambda _: len(lamp.activities.projections) == 3)
    assert [each.status for each in lamp.activities.projections] == [Phase.BURNING, Phase.ORDERED, Phase.BURNING]


async def test_a_rivals_change_is_not_overwritten(lamp: Lamp) -> None:
    """What the owner decided of the row before is not written over it: it decides anew."""
    calls = 0

    def meanwhile() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            lamp.activities.change(lamp.id)  # by somebody else, while the owner lights it

    lamp.activities.outside = meanwhile
    await lamp.order()
    await lamp.until(burning)
    assert (calls, len(lamp.activities.projections)) == (2, 1)


async def test_a_misspelt_change_is_refused_before_anything_is_sent() -> None:
    misspelt: Any = {"stauts": Phase.OUT}
    with pytest.raises(TypeError, match="stauts"):
        await LampOwner(LampInput(lamp=uuid4())).project(**misspelt)


async def runs_of(lamp: Lamp) -> list[WorkflowHistory]:
    """The history of each run of the owner, the first one first."""
    found, run_id = [], (await lamp.handle.describe()).run_id
    while run_id:
        found.append(await lamp.client.get_workflow_handle(lamp.handle.id, run_id=run_id).fetch_history())
        run_id = found[-1].events[0].workflow_execution_started_event_attributes.continued_execution_run_id
    return found[::-1]


async def test_an_owner_of_a_year_has_no_long_history(lamp: Lamp, environment: WorkflowEnvironment) -> None:
    """Half a year in one phase, hearing of nothing that matters; then half a year of being lit again and again."""
    await lamp.order()
    await lamp.until(burning)
    relit = 0
    for day in range(A_YEAR):
        await environment.sleep(DAY_S)
        for _ in range(2):
            await lamp.wake_and_read()
        if day > A_YEAR / 2 and day % 4 == 0:
            lamp.activities.change(lamp.id, flickers=True)
            await lamp.wake()
            await lamp.until(lambda row: burning(row) and not row.flickers)
            relit += 1
    runs = await runs_of(lamp)
    lengths = [len(run.events) for run in runs]
    assert sum(lengths) > 4_000, "it was a busy year"
    assert max(lengths) < 2_000
    assert max(lengths) >= options.RENEWAL_EVENTS, "who stays in a phase is not interrupted before"
    assert any(options.RENEWAL_EVENTS_AT_BOUNDARY <= each < options.RENEWAL_EVENTS for each in lengths[:-1])
    assert await lamp.handle.query("lightings") == relit + 1, "what it knew, it knows"
    replayer = Replayer(workflows=[LampWorkflow], plugins=[platform_plugin(TEST_CODEC_KEY)], namespace="default")
    for run in runs:
        await replayer.replay_workflow(run)


async def test_what_it_holds_for_goes_on_into_the_next_run(lamp: Lamp, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the input alone: neither row nor activity can say it."""
    monkeypatch.setattr(AppError, "retryable", False)
    lamp.activities.refuses = AppError("a defect")
    since = datetime(2026, 1, 2, tzinfo=UTC)
    await lamp.order(held=Held(code=HoldCode.SERVICE_UNAVAILABLE, since=since))
    async with asyncio.timeout(GIVE_UP_S):
        while "held by INTERNAL since 2026-01-02" not in await current_details(lamp.handle):
            await asyncio.sleep(0.01)
