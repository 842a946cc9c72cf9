"""Somebody who reaches Temporal and has no key: nothing that he sends is acted on, and whom he attacks goes on.

Every attack is made over the real server, by a client without our plugin; the oracle is the provider's ledger and the rows.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.workflowservice.v1 import (
    ResetActivityRequest,
    ResetWorkflowExecutionRequest,
    RespondActivityTaskCompletedByIdRequest,
    RespondActivityTaskFailedByIdRequest,
)
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import RawValue, RetryPolicy
from temporalio.converter import DataConverter, DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.runtime import line_limit
from activities.runtime.callers import CODE as CALLER_REFUSED
from activities.runtime.codec import ENCODING, KEY_ID_FIELD, WORKFLOW_FIELD
from activities.runtime.line_limit import PER_MINUTE
from activities.runtime.refusal import CODE as PAYLOAD_REFUSED
from models.base.errors import ProviderUnavailable
from models.base.ids import new_id
from models.contracts.fleet.instances import Observed
from models.contracts.fleet.owner_kinds import INSTANCE
from models.contracts.task_queues import TaskQueue
from models.domain.fleet.instances.state import Edge
from models.ports.compute import MachineState
from tests.patience import GIVE_UP_S
from tests.workflow.fleet.instances.world import COMPUTE_QUEUE, InstanceWorld
from workers.embedded.temporal import TemporalServer
from workers.provoked_lines import few_provoked_lines

ONCE = RetryPolicy(maximum_attempts=1)
SHORT = timedelta(seconds=20)


def clear(value: object) -> RawValue:
    return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode()))


NULL = RawValue(Payload(metadata={"encoding": b"binary/null"}))


class Blind(DefaultFailureConverter):
    """Reads the type of a failure, which travels in clear, and nothing that is sealed."""

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        seen = Failure.FromString(failure.SerializeToString())
        seen.application_failure_info.ClearField("details")
        return super().from_failure(
            seen if failure.HasField("application_failure_info") else failure, payload_converter
        )


class Attacker:
    """A client without a key, and what it can read of the histories."""

    def __init__(self, client: Client, world: InstanceWorld) -> None:
        self.client, self.world = client, world

    def handle(self, instance_id: UUID) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(f"instance/{instance_id}")

    async def start(self, workflow_type: str, workflow_id: str, *arguments: RawValue) -> WorkflowHandle[Any, Any]:
        return await self.client.start_workflow(
            workflow_type,
            args=list(arguments),
            id=workflow_id,
            task_queue=TaskQueue.ORCHESTRATION,
            task_timeout=timedelta(seconds=1),
        )

    async def seen(self, instance_id: UUID, kind: "EventType.ValueType") -> list[Any]:
        history = await self.handle(instance_id).fetch_history()
        return [event for event in history.events if event.event_type == kind]

    async def started_with(self, instance_id: UUID) -> RawValue:
        [event] = await self.seen(instance_id, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
        return RawValue(event.workflow_execution_started_event_attributes.input.payloads[0])

    async def signalled_with(self, instance_id: UUID) -> RawValue:
        events = await self.seen(instance_id, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
        return RawValue(events[-1].workflow_execution_signaled_event_attributes.input.payloads[0])

    async def answer(self, instance_id: UUID, activity_id: str, result: RawValue | None) -> None:
        """In the place of an activity that is pending: no task has to be taken for it."""
        await self.client.workflow_service.respond_activity_task_completed_by_id(
            RespondActivityTaskCompletedByIdRequest(
                namespace=self.client.namespace,
                workflow_id=f"instance/{instance_id}",
                activity_id=activity_id,
                result=None if result is None else Payloads(payloads=[result.payload]),
            )
        )

    async def pending(self, instance_id: UUID, activity: str, *, attempt: int = 1) -> str:
        """The id of an activity that is pending, once it is."""
        async with asyncio.timeout(GIVE_UP_S):
            while (found := await self.pending_now(instance_id, activity, attempt=attempt)) is None:
                await asyncio.sleep(0.05)
        return found

    async def pending_now(self, instance_id: UUID, activity: str, *, attempt: int = 1) -> str | None:
        description = await self.handle(instance_id).describe()
        for each in description.raw_description.pending_activities:
            if each.activity_type.name == activity and each.attempt >= attempt:
                return each.activity_id
        return None

    async def answered(self, instance_id: UUID, activity: str) -> RawValue:
        """With what an activity of that name was completed first."""
        events = await self.seen(instance_id, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        named = {
            e.event_id for e in events if e.activity_task_scheduled_event_attributes.activity_type.name == activity
        }
        events = await self.seen(instance_id, EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
        ends = [event.activity_task_completed_event_attributes for event in events]
        return RawValue(next(end for end in ends if end.scheduled_event_id in named).result.payloads[0])

    async def scheduled(self, instance_id: UUID, activity: str) -> RawValue:
        events = await self.seen(instance_id, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        tasks = [event.activity_task_scheduled_event_attributes for event in events]
        return RawValue(next(task for task in tasks if task.activity_type.name == activity).input.payloads[0])


@pytest.fixture
async def attacker(real_time_world: InstanceWorld, temporal_dev: TemporalServer) -> Attacker:
    blind = replace(DataConverter.default, failure_converter_class=Blind)
    return Attacker(await Client.connect(temporal_dev.address, data_converter=blind), real_time_world)


@asynccontextmanager
async def unharmed(world: InstanceWorld, instance_id: UUID) -> AsyncIterator[None]:
    """What happens inside changes no row and reaches no provider, and the owner still does what it is told."""

    async def state() -> list[Any]:
        return [
            await world.rows("SELECT * FROM instances ORDER BY id"),
            await world.rows("SELECT * FROM operations ORDER BY id"),
            await world.rows("SELECT * FROM instance_state_history ORDER BY 1, 2"),
            await world.rows("SELECT * FROM billing_segments ORDER BY id"),
        ]

    before, calls = await state(), len(world.compute.calls)
    yield
    assert await state() == before
    assert len(world.compute.calls) == calls
    assert not await world.is_closed(instance_id)
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id)
    assert instance_id not in {machine.instance_id for machine in world.compute.live.values()}


async def refused(handle: WorkflowHandle[Any, Any]) -> None:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == PAYLOAD_REFUSED


async def handled(attacker: Attacker, instance_id: UUID, signals: int) -> None:
    """The owner's worker has seen the signals: a task that began after the last of them is done."""
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            events = (await attacker.handle(instance_id).fetch_history()).events
            at = [e.event_id for e in events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED]
            done = [e.event_id for e in events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED]
            if len(at) >= signals and done and done[-1] > at[-1]:
                return
            await asyncio.sleep(0.05)


async def test_no_start_without_a_seal_begins_anything(attacker: Attacker) -> None:
    world = attacker.world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    made_up = {"instance_id": str(instance_id), "organization_id": str(world.principal.organization_id)}
    copied = await attacker.started_with(instance_id)
    async with unharmed(world, instance_id):
        for arguments in ([clear(made_up)], [copied], [], [NULL], [copied, copied]):
            await refused(await attacker.start("Instance", f"instance/{new_id()}", *arguments))
        await refused(await attacker.start("Sweeper", "sweeper", clear({})))


async def test_no_signal_without_a_seal_is_heard_and_none_holds_the_owner(
    attacker: Attacker, caplog: pytest.LogCaptureFixture
) -> None:
    world = attacker.world
    instance_id, other = await world.deploy_id(), await world.deploy_id()
    for each in (instance_id, other):
        await world.become_ready(each)
    replayed, invented = await attacker.signalled_with(other), await attacker.signalled_with(instance_id)
    payload = Payload.FromString(invented.payload.SerializeToString())
    payload.metadata[KEY_ID_FIELD] = b"0123456789abcdef"
    unbound = Payload(metadata={"encoding": ENCODING, KEY_ID_FIELD: replayed.payload.metadata[KEY_ID_FIELD]}, data=b"x")
    relabelled = Payload.FromString(replayed.payload.SerializeToString())
    relabelled.metadata[WORKFLOW_FIELD] = f"instance/{instance_id}".encode()
    attacks: list[Sequence[RawValue]] = [
        [clear({"operation_id": str(uuid4())})],
        [replayed],
        [RawValue(payload)],
        [RawValue(unbound)],
        [RawValue(relabelled)],
        [],
        [NULL],
        [invented, invented],
        [await attacker.started_with(instance_id)],
    ]
    handle = attacker.handle(instance_id)
    heard = len(await attacker.seen(instance_id, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED))
    async with unharmed(world, instance_id):
        for arguments in attacks:
            await handle.signal("command", args=list(arguments))
        await handled(attacker, instance_id, heard + len(attacks))
        assert caplog.text.count("dropping the signal") >= len(attacks)
        assert not await attacker.seen(instance_id, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)


async def test_a_flood_of_signals_is_a_few_lines_and_a_count(
    attacker: Attacker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, flood = attacker.world, 40
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    handle = attacker.handle(instance_id)
    heard = len(await attacker.seen(instance_id, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED))
    async with unharmed(world, instance_id), few_provoked_lines(tell_every_s=0.05):
        for number in range(flood):
            await handle.signal("command", clear({"operation_id": str(uuid4()), "number": number}))
        await handled(attacker, instance_id, heard + flood)
        assert caplog.text.count("a payload for instance/") == PER_MINUTE
        assert caplog.text.count("dropping the signal") == PER_MINUTE
        monkeypatch.setattr(line_limit, "WINDOW_S", 0.0)
        async with asyncio.timeout(GIVE_UP_S):
            while caplog.text.count("more lines in") < 2:
                await asyncio.sleep(0.05)
    assert "more lines in" in caplog.text
    assert f"like: temporalio.worker._workflow_instance met {PAYLOAD_REFUSED}" in caplog.text


async def test_an_update_or_query_in_clear_is_answered_with_a_failure(attacker: Attacker) -> None:
    world = attacker.world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    handle = attacker.handle(instance_id)
    async with unharmed(world, instance_id):
        with pytest.raises(WorkflowQueryFailedError):
            await handle.query("state", clear({"x": 1}))
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("command", clear({"operation_id": str(uuid4())}))


@workflow.defn(name="Foreign")
class Foreign:
    """A workflow of the attacker's own, on his own queue: it calls activities of ours, and says why it could not."""

    @workflow.run
    async def run(self, activity: str, queue: str, argument: RawValue) -> str:
        try:
            await workflow.execute_activity(
                activity, argument, task_queue=queue, start_to_close_timeout=SHORT, retry_policy=ONCE
            )
        except ActivityError as failure:
            return getattr(failure.cause, "type", "") or type(failure.cause).__name__
        return "it ran"


@workflow.defn(name="Instance")
class Impostor(Foreign):
    """One that calls itself an owner."""

    @workflow.run
    async def run(self, activity: str, queue: str, argument: RawValue) -> str:
        return await super().run(activity, queue, argument)


@asynccontextmanager
async def impostors(attacker: Attacker) -> AsyncIterator[str]:
    """The queue on which the attacker serves owners of his own."""
    queue = f"foreign-{uuid4()}"
    runner = UnsandboxedWorkflowRunner()
    async with Worker(attacker.client, task_queue=queue, workflows=[Foreign, Impostor], workflow_runner=runner):
        yield queue


async def has_done(attacker: Attacker, queue: str, instance_id: UUID, activity: str, argument: RawValue) -> str:
    """Why a machine's activity is not run for an impostor in the place of the instance's owner."""
    said: str = await attacker.client.execute_workflow(
        "Instance", args=[activity, COMPUTE_QUEUE, argument], id=f"instance/{instance_id}", task_queue=queue
    )
    return said


async def closed(handle: WorkflowHandle[Any, Any]) -> WorkflowExecutionStatus | None:
    """How it ended: without the key nobody reads its result."""
    async with asyncio.timeout(GIVE_UP_S):
        while (status := (await handle.describe()).status) is WorkflowExecutionStatus.RUNNING:
            await asyncio.sleep(0.05)
    return status


async def comes_back(world: InstanceWorld, instance_id: UUID) -> None:
    """As the sweeper has it do."""
    await closed(world.handle(instance_id))
    assert await world.delivery.restart_owner(
        INSTANCE, instance_id, world.principal.organization_id, provider_code="mock"
    )


async def asks_again(attacker: Attacker, instance_id: UUID, watch: str) -> None:
    """The owner took the watch over its machine for failed. News have it look before the pause after a failure is over."""
    async with asyncio.timeout(GIVE_UP_S):
        while await attacker.pending_now(instance_id, "await_machine") in (None, watch):
            await attacker.world.handle(instance_id).signal("observed", Observed(edge=Edge.PHASE))
            await asyncio.sleep(0.2)


async def test_no_foreign_workflow_has_our_activities_run(attacker: Attacker) -> None:
    world = attacker.world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    create = await attacker.scheduled(instance_id, "create_machine")
    made_up = clear({"key": {"instance_id": str(instance_id)}})
    async with unharmed(world, instance_id), impostors(attacker) as queue:
        for kind, workflow_id in (
            ("Foreign", "foreign"),
            ("Instance", f"instance/{new_id()}"),
            ("Instance", f"instance/{instance_id}-2026-11-26T10:00:00Z"),
        ):
            for activity, on, argument, reason in (
                ("create_machine", COMPUTE_QUEUE, create, None),
                ("create_machine", COMPUTE_QUEUE, clear({"spec": {}}), PAYLOAD_REFUSED),
                ("project_instance", TaskQueue.ORCHESTRATION, made_up, PAYLOAD_REFUSED),
                ("remove_machine", COMPUTE_QUEUE, NULL, PAYLOAD_REFUSED),
                ("sweep", TaskQueue.RECORDS, NULL, PAYLOAD_REFUSED),
            ):
                said = await attacker.client.execute_workflow(
                    kind, args=[activity, on, argument], id=workflow_id, task_queue=queue
                )
                assert said in ({reason} if reason else {PAYLOAD_REFUSED, CALLER_REFUSED}), (kind, activity)


async def test_no_activity_runs_without_a_workflow(attacker: Attacker) -> None:
    world = attacker.world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    copied = await attacker.scheduled(instance_id, "create_machine")
    async with unharmed(world, instance_id):
        for argument, reason in ((copied, PAYLOAD_REFUSED), (clear({}), PAYLOAD_REFUSED), (NULL, PAYLOAD_REFUSED)):
            handle = await attacker.client.start_activity(
                "create_machine",
                argument,
                id=str(uuid4()),
                task_queue=COMPUTE_QUEUE,
                start_to_close_timeout=SHORT,
            )
            with pytest.raises(Exception, match="failed") as caught:
                await handle.result()
            assert getattr(caught.value.__cause__, "type", None) == reason


async def test_a_squatted_owner_ends_and_the_real_one_takes_its_place(attacker: Attacker) -> None:
    """A start in clear under the id of an instance that is still to come must not keep its owner away."""
    world = attacker.world
    ordered = await world.deploy(deliver=False)
    await refused(await attacker.start("Instance", f"instance/{ordered.instance_id}", clear({})))
    assert await world.delivery.restart_owner(
        INSTANCE, ordered.instance_id, world.principal.organization_id, provider_code="mock"
    )
    await world.become_ready(ordered.instance_id)
    async with world.beating(ordered.instance_id):
        await world.command("terminate", ordered.instance_id)
        await world.ended(ordered.instance_id)


async def test_what_an_owner_had_done_is_not_done_again_after_it_ended(attacker: Attacker) -> None:
    """An impostor under the very id, with what was sealed for it. A machine made now would be nobody's."""
    world = attacker.world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    create, look = [await attacker.scheduled(instance_id, name) for name in ("create_machine", "await_machine")]
    begun, heard = await attacker.started_with(instance_id), await attacker.signalled_with(instance_id)
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id)
    state = await world.rows("SELECT * FROM instances ORDER BY id")
    calls = list(world.compute.calls)
    owner = await attacker.start("Instance", f"instance/{instance_id}", begun)
    assert await closed(owner) is WorkflowExecutionStatus.COMPLETED
    await refused(await attacker.start("Instance", f"instance/{instance_id}", heard))
    async with impostors(attacker) as queue:
        assert await has_done(attacker, queue, instance_id, "create_machine", create) == "STEP_IS_OVER"
        assert await has_done(attacker, queue, instance_id, "create_machine", look) == PAYLOAD_REFUSED
        assert await has_done(attacker, queue, instance_id, "remove_machine", look) == PAYLOAD_REFUSED
    assert world.compute.calls == calls
    assert world.compute.live == {}
    assert await world.rows("SELECT * FROM instances ORDER BY id") == state


async def test_an_impostor_in_an_owners_place_cannot_harm_its_machine(attacker: Attacker) -> None:
    world = attacker.world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await world.command("reinstall", instance_id)
    await world.until(instance_id, lambda row: row["status"] == "booting" and row["generation"] == 2)
    await world.until_called("reinstall", 1)
    await world.become_ready(instance_id)
    await world.handle(instance_id).terminate("by an attacker")
    create, look, restart = [
        await attacker.scheduled(instance_id, name) for name in ("create_machine", "await_machine", "restart_machine")
    ]
    calls = list(world.compute.calls)
    async with impostors(attacker) as queue:
        for activity, argument, reason in (
            ("create_machine", create, "STEP_IS_OVER"),
            ("create_machine", restart, PAYLOAD_REFUSED),
            ("restart_machine", restart, "STEP_IS_OVER"),
            ("restart_machine", create, PAYLOAD_REFUSED),
            ("remove_machine", look, PAYLOAD_REFUSED),
        ):
            assert await has_done(attacker, queue, instance_id, activity, argument) == reason, activity
    assert world.compute.calls == calls
    await comes_back(world, instance_id)
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id)


async def test_an_owner_that_is_reset_after_its_end_makes_no_machine(attacker: Attacker) -> None:
    """Our own code in our own run, begun again where its create was under way: the server orders the create anew."""
    world = attacker.world
    world.compute.script["create"] = [ProviderUnavailable("not now"), ProviderUnavailable("not now")]
    instance_id = await world.deploy_id()
    await attacker.pending(instance_id, "create_machine")
    await attacker.handle(instance_id).signal("command", clear({}))
    await handled(attacker, instance_id, 1)
    await world.become_ready(instance_id)
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id)
    history = await attacker.handle(instance_id).fetch_history()
    created = next(
        event.event_id for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
    )  # fmt: skip
    tasks = await attacker.seen(instance_id, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
    calls = world.compute.calls.count("create")
    reset = await attacker.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=attacker.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=f"instance/{instance_id}", run_id=history.run_id),
            reason="an attack",
            workflow_task_finish_event_id=max(each.event_id for each in tasks if each.event_id < created),
            request_id=str(uuid4()),
        )
    )
    again = attacker.client.get_workflow_handle(f"instance/{instance_id}", run_id=reset.run_id)
    assert await closed(again) is WorkflowExecutionStatus.COMPLETED
    events = (await again.fetch_history()).events
    assert any(event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED for event in events)
    assert world.compute.calls.count("create") == calls
    assert world.compute.live == {}


async def test_a_create_that_is_reset_does_not_pass_for_the_first(attacker: Attacker) -> None:
    """The promise spares the look for a machine that an earlier try has made: broken, it makes a twin."""
    world = attacker.world
    world.compute.script["create"] = [ProviderUnavailable("not now", retry_after_s=300.0)]
    instance_id = await world.deploy_id()
    await attacker.pending(instance_id, "create_machine", attempt=2)
    await attacker.client.workflow_service.reset_activity(
        ResetActivityRequest(
            namespace=attacker.client.namespace,
            execution=WorkflowExecution(workflow_id=f"instance/{instance_id}"),
            type="create_machine",
        )
    )
    await world.become_ready(instance_id)
    assert world.compute.promises == [True, False]


async def test_an_answer_that_its_activity_did_not_give_only_says_that_an_activity_failed(attacker: Attacker) -> None:
    """None of an `await_machine` or a look would mean that the machine is gone, and have what is left of it removed."""
    world = attacker.world
    world.compute.starts_as = MachineState.PENDING
    instance_id = await world.deploy_id()
    await attacker.pending(instance_id, "await_machine")
    own_argument = await attacker.scheduled(instance_id, "await_machine")
    for forged in (None, NULL, clear({"machine": None}), await attacker.started_with(instance_id), own_argument):
        watch = await attacker.pending(instance_id, "await_machine")
        await attacker.answer(instance_id, watch, forged)
        await asks_again(attacker, instance_id, watch)
    assert (await world.row(instance_id))["status"] == "provisioning"
    assert len(world.compute.live) == 1
    await world.command("terminate", instance_id)
    await world.ended(instance_id)


async def test_a_failure_of_no_known_kind_holds_no_owner(attacker: Attacker) -> None:
    """It stays in the history: a task that fails over it would fail for ever."""
    world = attacker.world
    world.compute.starts_as = MachineState.PENDING
    instance_id = await world.deploy_id()
    watch = await attacker.pending(instance_id, "await_machine")
    info = ApplicationFailureInfo(category=99, non_retryable=True)  # type: ignore[arg-type]  # no such value
    await attacker.client.workflow_service.respond_activity_task_failed_by_id(
        RespondActivityTaskFailedByIdRequest(
            namespace=attacker.client.namespace,
            workflow_id=f"instance/{instance_id}",
            activity_id=watch,
            failure=Failure(message="odd", application_failure_info=info),
        )
    )
    await asks_again(attacker, instance_id, watch)
    await world.command("terminate", instance_id)
    await world.ended(instance_id)


async def test_an_earlier_answer_is_no_answer(attacker: Attacker) -> None:
    """It would send requests to the port that the machine had before, to whoever listens there now."""
    world = attacker.world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    old_port = (await world.row(instance_id))["endpoint_port"]
    world.compute.hidden_looks = 1_000_000
    await world.command("reinstall", instance_id)
    for _ in range(2):
        watch = await attacker.pending(instance_id, "await_machine")
        await attacker.answer(instance_id, watch, await attacker.answered(instance_id, "await_machine"))
        await asks_again(attacker, instance_id, watch)
    assert (await world.row(instance_id))["endpoint_port"] != old_port
    assert not await attacker.seen(instance_id, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
    await world.command("terminate", instance_id)
    await world.ended(instance_id)


async def test_an_owner_that_is_reset_goes_on(attacker: Attacker) -> None:
    """Whoever does it: what activities said in the run that it repeats was said to it."""
    world = attacker.world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await handled(attacker, instance_id, 1)
    tasks = await attacker.seen(instance_id, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
    async with unharmed(world, instance_id):
        await attacker.client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=attacker.client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=f"instance/{instance_id}"),
                reason="an operator",
                workflow_task_finish_event_id=tasks[-1].event_id,
                request_id=str(uuid4()),
            )
        )
        await handled(attacker, instance_id, 0)
        assert not await attacker.seen(instance_id, EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED)


async def test_what_was_said_to_an_owner_may_be_said_again(attacker: Attacker) -> None:
    world = attacker.world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await world.command("reinstall", instance_id)
    await world.until(instance_id, lambda row: row["status"] == "booting" and row["generation"] == 2)
    await world.become_ready(instance_id)
    events = await attacker.seen(instance_id, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
    said = [event.workflow_execution_signaled_event_attributes for event in events]
    assert {each.signal_name for each in said} == {"command", "observed"}
    async with unharmed(world, instance_id):
        for each in (*said, *said):
            await attacker.handle(instance_id).signal(each.signal_name, RawValue(each.input.payloads[0]))
        await handled(attacker, instance_id, 3 * len(said))
