"""The standing workflows: one of each, for ever, on the beat, in histories of bounded size; and the schedules of before are gone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio import activity
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    WorkflowExecutionStatus,
    WorkflowHandle,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.runtime.plugin import platform_plugin
from models.base.errors import AppError
from models.contracts.fleet.samples import UpkeepInput, UpkeepResult
from models.contracts.rounds import RoundsInput
from models.contracts.search_attributes import RESOURCE_ID, RESOURCE_KIND
from models.contracts.sweeper import SweepInput, SweepResult
from models.contracts.task_queues import TaskQueue
from models.contracts.workflow_ids import SAMPLES, SCHEDULES, SWEEPER
from tests.patience import GIVE_UP_S
from tests.replay.recording import keep_history
from tests.servers import TEST_CODEC_KEY
from tests.workflow.details import current_details
from workers import registry, standing
from workers.embedded.temporal import TemporalServer, binary
from workers.families.fleet import reconciling
from workflows import options
from workflows.fleet.samples import SamplesWorkflow
from workflows.lib.rounds import EPOCH, until_next
from workflows.sweeper import SweeperWorkflow

RUNNING = WorkflowExecutionStatus.RUNNING
OF_INSTALLATION = registry.standing_of([TaskQueue.ORCHESTRATION])


class Rounds:
    """The two activities without a database: when each round began, by the server's clock, and what befalls it."""

    def __init__(self) -> None:
        self.sweeps: list[datetime] = []
        self.runs: set[str] = set()
        self.upkeeps = 0
        self.befalls: dict[int, Callable[[], Exception]] = {}
        """Number of a sweep's attempt -> what it raises."""
        self.attempts = 0

    @activity.defn
    async def sweep(self, request: SweepInput) -> SweepResult:
        self.attempts += 1
        self.runs.add(str(activity.info().workflow_run_id))
        if activity.info().attempt == 1:
            self.sweeps.append(activity.info().scheduled_time)
        if (error := self.befalls.get(self.attempts)) is not None:
            raise error()
        return SweepResult()

    @activity.defn
    async def keep_samples(self, request: UpkeepInput) -> UpkeepResult:
        self.upkeeps += 1
        return UpkeepResult()


@asynccontextmanager
async def workers(client: Client, rounds: Rounds) -> AsyncIterator[None]:
    async with (
        Worker(client, task_queue=TaskQueue.ORCHESTRATION, workflows=[SweeperWorkflow, SamplesWorkflow]),
        Worker(client, task_queue=TaskQueue.RECORDS, activities=[rounds.sweep, rounds.keep_samples]),
    ):
        yield


@pytest.fixture
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A clock of its own: a workflow that never ends would move the one of all other tests."""
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary("temporal-test-server"), plugins=[platform_plugin(TEST_CODEC_KEY)]
    )
    try:
        yield environment
    finally:
        await environment.shutdown()


@pytest.fixture
async def client(temporal_dev: TemporalServer) -> AsyncIterator[Client]:
    """Of the server that all tests share; nothing of ours is left standing on it."""
    client = await Client.connect(temporal_dev.address, plugins=[platform_plugin(TEST_CODEC_KEY)])
    try:
        yield client
    finally:
        for workflow_id in (SWEEPER, SAMPLES, SCHEDULES):
            with suppress(RPCError):
                await client.get_workflow_handle(workflow_id).terminate("the test is over")
        for schedule_id in standing.FORMER_SCHEDULES:
            with suppress(RPCError):
                await client.get_schedule_handle(schedule_id).delete()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while not await holds():
            await asyncio.sleep(0.05)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis's bounds
    st.sampled_from([options.SWEEP_EVERY, options.UPKEEP_EVERY, timedelta(hours=1)]),
)
def test_the_next_round_comes_at_the_next_beat(now: datetime, every: timedelta) -> None:
    wait = until_next(now, every)
    assert timedelta() < wait <= every
    assert (now + wait - EPOCH) % every == timedelta()


async def test_a_day_of_rounds_leaves_histories_of_bounded_size(skipping: WorkflowEnvironment) -> None:
    """1,440 rounds, in five runs: each ends after its fixed number of rounds and the next goes on."""
    rounds = Rounds()
    async with workers(skipping.client, rounds):
        started = await skipping.client.start_workflow(
            SamplesWorkflow.run, RoundsInput(is_endless=True), id=SAMPLES, task_queue=TaskQueue.ORCHESTRATION
        )
        for _ in range(24):  # hour by hour: no single call lasts
            await skipping.sleep(timedelta(hours=1))
        runs = [events async for events in _runs(skipping.client, started)]
        await skipping.client.get_workflow_handle(SAMPLES).terminate("the test is over")
    a_day = timedelta(days=1) // options.UPKEEP_EVERY
    assert a_day <= rounds.upkeeps <= a_day + 2
    assert len(runs) == -(-rounds.upkeeps // options.ROUNDS_PER_RUN)
    assert max(runs) < 4096


async def _runs(client: Client, started: WorkflowHandle[Any, Any]) -> AsyncIterator[int]:
    """Events of each run in the order of the chain."""
    run_id = started.first_execution_run_id
    while run_id:
        events = (await client.get_workflow_handle(started.id, run_id=run_id).fetch_history()).events
        yield len(events)
        run_id = events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id


async def test_a_slow_round_skips_beats_and_a_failed_one_is_followed_by_the_next(
    skipping: WorkflowEnvironment,
) -> None:
    rounds = Rounds()
    slow = timedelta(seconds=34)
    rounds.befalls = {
        2: lambda: ApplicationError("so long does this sweep take", next_retry_delay=slow),
        4: lambda: ApplicationError("for good", non_retryable=True),
    }
    async with workers(skipping.client, rounds):
        handle = await skipping.client.start_workflow(
            SweeperWorkflow.run, RoundsInput(is_endless=True), id=SWEEPER, task_queue=TaskQueue.ORCHESTRATION
        )
        while len(rounds.sweeps) < 6:
            await skipping.sleep(options.SWEEP_EVERY)
        await keep_history(handle, "endless-slow-and-failed", skipping.client.data_converter.payload_codec)
        waits = _ends_of_waits([event async for event in handle.fetch_history_events()])
        assert (await handle.describe()).status is RUNNING
        await handle.terminate("the test is over")
    begun = [(one - EPOCH) // options.SWEEP_EVERY for one in rounds.sweeps]
    assert [after - before for before, after in pairwise(begun[1:])][:4] == [4, 1, 1, 1]
    assert len(waits) >= 5
    rounding = timedelta(milliseconds=1)  # of the server's nanoseconds on their way to a datetime
    assert max((one - EPOCH + rounding) % options.SWEEP_EVERY for one in waits) <= 2 * rounding, "they do not drift"


def _ends_of_waits(events: list[HistoryEvent]) -> list[datetime]:
    """When each timer was meant to end. A workflow's time is that of the start of its task."""
    found, now = [], EPOCH
    for event in events:
        if event.HasField("workflow_task_started_event_attributes"):
            now = event.event_time.ToDatetime(UTC)
        elif event.HasField("timer_started_event_attributes"):
            found.append(now + event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta())
    return found


async def test_a_failed_round_stands_on_the_page_of_the_workflow(skipping: WorkflowEnvironment) -> None:
    rounds = Rounds()
    rounds.befalls = {number: lambda: AppError("private") for number in range(100)}
    async with workers(skipping.client, rounds):
        handle = await skipping.client.start_workflow(
            SweeperWorkflow.run, RoundsInput(is_endless=True), id=SWEEPER, task_queue=TaskQueue.ORCHESTRATION
        )
        async with asyncio.timeout(GIVE_UP_S):
            while "failed" not in (page := await current_details(handle)):
                await asyncio.sleep(0.05)
        await handle.terminate("the test is over")
    assert "the last **failed** (INTERNAL) after" in page


async def test_one_of_each_runs_however_often_it_is_looked_after(client: Client) -> None:
    for _ in range(2):
        await asyncio.gather(*(standing.ensure_standing(client, OF_INSTALLATION) for _ in range(3)))
    for workflow_id in (SWEEPER, SAMPLES, SCHEDULES):
        first = await client.get_workflow_handle(workflow_id).describe()
        assert first.status is RUNNING
        assert (await first.memo())["about"] == await first.static_summary()
        assert "half a minute" in str(await first.static_details())
        assert first.typed_search_attributes[RESOURCE_KIND] == "standing"
        assert first.typed_search_attributes[RESOURCE_ID] == workflow_id
        await until(partial(_found, client, f"WorkflowId = '{workflow_id}'", 1))


async def _found(client: Client, query: str, number: int) -> bool:
    running = [one async for one in client.list_workflows(f"{query} AND ExecutionStatus = 'Running'")]
    assert len(running) <= number
    return len(running) == number


def test_a_worker_sees_to_what_it_serves() -> None:
    def ids(*queues: str) -> list[str]:
        return [one.id for one in registry.standing_of(queues)]

    assert ids("records") == []
    assert ids("orchestration", "records") == [SWEEPER, SCHEDULES, SAMPLES]
    assert ids("cloud-mock") == ["reconcile/cloud-mock"]
    assert ids("runner@a", "orchestration") == ["reconcile/runner@a", SWEEPER, SCHEDULES, SAMPLES]


async def test_a_worker_that_starts_has_its_provider_looked_at_once(client: Client) -> None:
    """After a restore nobody waits for the next beat. Looking after it later asks for nothing."""
    one = reconciling(f"cloud-{uuid4()}")
    try:
        for is_first in (True, False, True, False):
            await standing.ensure_standing(client, [one], is_first=is_first)
        handle = client.get_workflow_handle(one.id)
        events = [event async for event in handle.fetch_history_events()]
        signals = [each for each in events if each.HasField("workflow_execution_signaled_event_attributes")]
        assert [each.workflow_execution_signaled_event_attributes.signal_name for each in signals] == ["look", "look"]
    finally:
        await client.get_workflow_handle(one.id).terminate("the test is over")


@pytest.mark.parametrize("end", ["terminate", "cancel"])
async def test_one_that_somebody_ends_is_back_by_itself(
    client: Client, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "LOOK_EVERY_S", 0.2)
    rounds = Rounds()
    background = asyncio.create_task(standing.keep_standing(client, OF_INSTALLATION))
    try:
        async with workers(client, rounds):
            await until(lambda: _true(len(rounds.runs) == 1))
            await getattr(client.get_workflow_handle(SWEEPER), end)()
            await until(lambda: _true(len(rounds.runs) == 2))
            assert not background.done()
    finally:
        background.cancel()
        await asyncio.gather(background, return_exceptions=True)


async def _true(value: bool) -> bool:
    return value


async def test_the_schedules_of_before_are_gone_after_an_upgrade(client: Client) -> None:
    """Made exactly as workers made them until 2026-11-26, one with a run that has begun and that nobody has worked on."""
    as_then = SweepInput().model_dump(mode="json")  # what was sealed named no model
    for schedule_id, workflow, every_s in (("sweeper", "Sweeper", 10), ("samples", "Samples", 60)):
        await client.create_schedule(
            schedule_id,
            Schedule(
                action=ScheduleActionStartWorkflow(
                    workflow, as_then, id=schedule_id, task_queue=TaskQueue.ORCHESTRATION
                ),
                spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=every_s))]),
                policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
            ),
            trigger_immediately=True,
        )
    old: list[WorkflowHandle[Any, Any]] = []

    async def has_begun() -> bool:
        found = client.list_workflows("WorkflowId STARTS_WITH 'sweeper-' AND ExecutionStatus = 'Running'")
        old[:] = [client.get_workflow_handle(one.id, run_id=one.run_id) async for one in found]
        return bool(old)

    await until(has_begun)
    await standing.ensure_standing(client, OF_INSTALLATION)
    for schedule_id in standing.FORMER_SCHEDULES:
        with pytest.raises(RPCError) as refused:
            await client.get_schedule_handle(schedule_id).describe()
        assert refused.value.status is RPCStatusCode.NOT_FOUND
    async with workers(client, Rounds()):
        for run in old:  # does its one round and ends; only the standing one goes on
            assert await run.result() is not None
        assert (await client.get_workflow_handle(SWEEPER).describe()).status is RUNNING
