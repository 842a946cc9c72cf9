"""Sealing over a real server: every place that the SDK has for a payload, schedules, and what is older than the binding."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from nacl.secret import Aead
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import RawValue, RetryPolicy
from temporalio.converter import PayloadCodec
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, Worker

from activities.runtime.codec import ENCODING, FORMAT_FIELD, KEY_ID_FIELD, UNBOUND_TAG, WORKFLOW_FIELD
from activities.runtime.keyring import key_id
from activities.runtime.plugin import platform_data_converter, platform_plugin
from activities.runtime.refusal import CODE
from activities.runtime.runs import know_runs
from models.base.clock import utc_now
from tests.patience import GIVE_UP_S
from tests.workflow.runtime_workflows import Order, misbehave
from workers.embedded.temporal import TemporalServer

KEY = b"k" * 32
SOON = timedelta(seconds=20)


@workflow.defn(name="SealedChild")
class SealedChild:
    @workflow.run
    async def run(self, order: Order) -> Order:
        return Order(kind="child", text=order.text)


@workflow.defn(name="Everywhere")
class Everywhere:
    """Puts a payload into every place that a workflow has for one, and reads it back there."""

    @workflow.init
    def __init__(self, order: Order) -> None:
        self._heard: list[str] = []
        self._order = order

    @workflow.run
    async def run(self, order: Order) -> list[str]:
        if order.kind == "first":
            workflow.continue_as_new(Order(kind="second", text=order.text), memo={"note": "of the second run"})
        await workflow.wait_condition(lambda: len(self._heard) >= 2)
        if order.kind == "brief":
            return self._heard
        activity = Order(kind="echo", text="activity")
        local = Order(kind="echo", text="local")
        child_id = f"{workflow.info().workflow_id}/child"
        child = await workflow.execute_child_workflow(SealedChild.run, Order(kind="c", text="child"), id=child_id)
        workflow.upsert_memo({"note": "memo"})
        other = workflow.get_external_workflow_handle(order.text)
        await other.signal("hear", Order(kind="external", text="external"))
        return [
            *sorted(self._heard),
            await workflow.execute_activity(misbehave, activity, start_to_close_timeout=SOON, summary="a summary"),
            await workflow.execute_local_activity(misbehave, local, start_to_close_timeout=SOON),
            child.text,
            workflow.memo()["note"],
        ]

    @workflow.signal
    def hear(self, order: Order) -> None:
        self._heard.append(order.text)

    @workflow.update
    def change(self, order: Order) -> Order:
        self._heard.append(order.text)
        return order

    @workflow.query
    def heard(self, order: Order) -> Order:
        return Order(kind=order.kind, text=" ".join([*self._heard, self._order.kind]))


WORKFLOWS = [Everywhere, SealedChild]


@pytest.fixture
async def client(temporal_dev: TemporalServer) -> Client:
    client = await Client.connect(temporal_dev.address, plugins=[platform_plugin(KEY)])
    know_runs(client, utc_now())
    return client


async def test_every_place_of_a_payload_is_known_to_the_sdk(client: Client) -> None:
    """Where it names none, or another one for writing than for reading, this does not come back."""
    queue, other = str(uuid4()), str(uuid4())
    async with Worker(client, task_queue=queue, workflows=WORKFLOWS, activities=[misbehave]):
        listener = await client.start_workflow(
            Everywhere.run, Order(kind="second", text="x"), id=other, task_queue=queue, memo={"note": "memo"}
        )
        handle = await client.start_workflow(
            Everywhere.run, Order(kind="first", text=other), id=queue, task_queue=queue, static_summary="summary",
            start_signal="hear", start_signal_args=[Order(kind="s", text="a lost one")],
        )  # fmt: skip
        while (await handle.query(Everywhere.heard, Order(kind="q"))).text != "second":
            pass
        await handle.signal(Everywhere.hear, Order(kind="s", text="signal"))
        assert await handle.execute_update(Everywhere.change, Order(kind="u", text="update")) == Order(
            kind="u", text="update"
        )
        assert await handle.result() == ["signal", "update", "activity", "local", "child", "memo"]
        while "external" not in (await listener.query(Everywhere.heard, Order(kind="q"))).text:
            pass
        assert await (await listener.describe()).memo_value("note") == "memo"
        await listener.terminate("it is over", RawValue(Payload()))
    history = await client.get_workflow_handle(queue).fetch_history()
    replayer = Replayer(workflows=WORKFLOWS, plugins=[platform_plugin(KEY)], namespace=client.namespace)
    await replayer.replay_workflow(history)
    for event in history.events:
        raw = event.SerializeToString()
        assert ENCODING not in raw or queue.encode() in raw or other.encode() in raw


async def test_a_run_of_a_schedule_opens_what_was_sealed_for_it(client: Client) -> None:
    queue = str(uuid4())
    action = ScheduleActionStartWorkflow(
        SealedChild.run, Order(kind="c", text="scheduled"), id=f"of-schedule/{queue}", task_queue=queue
    )
    async with Worker(client, task_queue=queue, workflows=WORKFLOWS, activities=[misbehave]):
        schedule = await client.create_schedule(f"schedule/{queue}", Schedule(action=action, spec=ScheduleSpec()))
        try:
            await schedule.trigger()
            async with asyncio.timeout(GIVE_UP_S):
                while not (recent := (await schedule.describe()).info.recent_actions):
                    await asyncio.sleep(0.05)
            started = recent[0].action
            assert isinstance(started, ScheduleActionExecutionStartWorkflow)
            run_id = started.workflow_id
            assert run_id.startswith(f"of-schedule/{queue}-")
            result = await client.get_workflow_handle_for(SealedChild.run, run_id).result()
        finally:
            await schedule.delete()
    assert result == Order(kind="child", text="scheduled")


class Unbound(PayloadCodec):
    """What sealed before payloads were bound to their place."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        name = key_id(KEY).encode()
        return [
            Payload(
                metadata={"encoding": ENCODING, KEY_ID_FIELD: name},
                data=bytes(Aead(KEY).encrypt(each.SerializeToString(), UNBOUND_TAG + name)),
            )
            for each in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        raise NotImplementedError("it only writes")


async def older(server: TemporalServer) -> Client:
    return await Client.connect(
        server.address, data_converter=replace(platform_data_converter(None), payload_codec=Unbound())
    )


async def first_payload(handle: WorkflowHandle[Any, Any]) -> RawValue:
    started = (await handle.fetch_history()).events[0].workflow_execution_started_event_attributes
    return RawValue(started.input.payloads[0])


async def test_a_run_of_before_goes_on_and_its_payloads_open_nowhere_else(
    temporal_dev: TemporalServer,
) -> None:
    queue = str(uuid4())
    before = await older(temporal_dev)
    old = await before.start_workflow(Everywhere.run, Order(kind="brief"), id=queue, task_queue=queue)
    await old.signal(Everywhere.hear, Order(kind="s", text="one"))
    copied = await first_payload(old)
    assert FORMAT_FIELD not in copied.payload.metadata
    client = await Client.connect(temporal_dev.address, plugins=[platform_plugin(KEY)])
    know_runs(client, utc_now())
    plain = await Client.connect(temporal_dev.address)
    async with Worker(client, task_queue=queue, workflows=WORKFLOWS, activities=[misbehave]):
        new = await plain.start_workflow("Everywhere", copied, id=f"{queue}/new", task_queue=queue)
        with pytest.raises(WorkflowFailureError) as caught:
            await new.result()
        assert isinstance(caught.value.cause, ApplicationError)
        assert caught.value.cause.type == CODE
        ours = client.get_workflow_handle_for(Everywhere.run, queue)
        await ours.signal(Everywhere.hear, Order(kind="s", text="two"))
        assert await ours.result() == ["one", "two"]
        again = await plain.start_workflow("Everywhere", copied, id=queue, task_queue=queue)
        with pytest.raises(WorkflowFailureError):
            await again.result()


async def test_what_is_sealed_names_its_workflow_in_clear(client: Client) -> None:
    handle = await client.start_workflow(
        "Nobody", Order(kind="x"), id=str(uuid4()), task_queue="nobody", retry_policy=RetryPolicy(maximum_attempts=1)
    )
    payload = (await first_payload(handle)).payload
    assert payload.metadata[WORKFLOW_FIELD] == handle.id.encode()
    await handle.terminate("it is over")
