"""The runtime against a real server: what an error, a secret and a request's identity become on their way through Temporal."""

import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.bridge.proto.activity_task import Cancel
from temporalio.client import Client, WorkflowFailureError
from temporalio.worker import Replayer, Worker
from temporalio.worker._activity import _ActivityWorker

from activities.runtime.context import ContextFilter, RequestContext, bound_context
from activities.runtime.crash import UnknownCrashPoint
from activities.runtime.failures import unwrap
from activities.runtime.plugin import platform_plugin
from models.base.errors import PartialCreate, ProviderUnavailable
from tests.secrets_scan import scan_bytes
from tests.workflow.runtime_workflows import (
    THROTTLED_FOR_S,
    Order,
    RuntimeContext,
    RuntimeFailing,
    RuntimeParent,
    RuntimeProbe,
    Seen,
    misbehave,
    who_async,
    who_sync,
)
from workers.embedded.temporal import TemporalServer

KEY, OLD_KEY = b"k" * 32, b"o" * 32
SECRET = "planted-9f2c41d7-secret"
WORKFLOWS = [RuntimeProbe, RuntimeFailing, RuntimeParent, RuntimeContext]


async def client_with(server: TemporalServer, key: bytes | None, *previous: bytes) -> Client:
    return await Client.connect(server.address, plugins=[platform_plugin(key, previous_codec_keys=previous)])


@asynccontextmanager
async def working(client: Client) -> AsyncIterator[str]:
    queue = str(uuid4())
    with ThreadPoolExecutor(2) as threads:
        async with Worker(
            client,
            task_queue=queue,
            workflows=WORKFLOWS,
            activities=[misbehave, who_async, who_sync],
            activity_executor=threads,
        ):
            yield queue


def test_a_cancel_that_comes_after_its_activity_ended_raises_nothing() -> None:
    """The SDK warns in its polling loop, where a warning that is an error would end the worker (`filterwarnings`)."""
    nothing_runs: Any = SimpleNamespace(_running_activities={})
    _ActivityWorker._handle_cancel_activity_task(nothing_runs, b"token", Cancel())


async def probe(client: Client, queue: str, kind: str, text: str = "") -> Seen:
    return await client.execute_workflow(
        RuntimeProbe.run, Order(kind=kind, text=text), id=str(uuid4()), task_queue=queue
    )


async def test_an_error_comes_back_as_itself_and_is_not_retried_unless_it_says_so(temporal_dev: TemporalServer) -> None:
    client = await client_with(temporal_dev, KEY)
    async with working(client) as queue:
        seen = await probe(client, queue, "no-capacity")
    assert (seen.kind, seen.code) == ("NoCapacity", "NO_CAPACITY")
    assert seen.details == {"zone": "local", "attempt": 1}


async def test_a_code_narrowed_at_the_raise_keeps_its_class(temporal_dev: TemporalServer) -> None:
    client = await client_with(temporal_dev, KEY)
    async with working(client) as queue:
        seen = await probe(client, queue, "narrowed")
    assert (seen.kind, seen.code, seen.details) == ("NoCapacity", "QUOTA_USED_UP", {"quota": 4})


async def test_a_partial_create_keeps_the_id_of_what_may_exist(temporal_dev: TemporalServer) -> None:
    client = await client_with(temporal_dev, KEY)
    async with working(client) as queue:
        seen = await probe(client, queue, "partial", SECRET)
    assert (seen.kind, seen.details) == ("PartialCreate", {"resource_id": "m-1"})


async def test_retry_after_is_the_delay_before_the_next_attempt(temporal_dev: TemporalServer) -> None:
    client = await client_with(temporal_dev, KEY)
    async with working(client) as queue:
        seen = await probe(client, queue, "throttled")
    assert seen.code == "waited"
    assert THROTTLED_FOR_S <= float(seen.message) < THROTTLED_FOR_S + 2  # the policy alone would say one second


async def test_a_bug_is_retried_and_says_nothing_of_itself_but_where_to_look(
    temporal_dev: TemporalServer, caplog: pytest.LogCaptureFixture
) -> None:
    client = await client_with(temporal_dev, KEY)
    caplog.handler.addFilter(ContextFilter())
    with caplog.at_level(logging.INFO):
        async with working(client) as queue:
            retried = await probe(client, queue, "bug-once", SECRET)
            seen = await probe(client, queue, "bug", SECRET)
    assert retried.message == "attempt 2"
    assert seen.code == "INTERNAL"
    assert "RuntimeError" in seen.message
    noted: list[tuple[logging.LogRecord, dict[str, Any]]] = [(record, vars(record)) for record in caplog.records]
    [error_id] = {extra["error_id"] for _, extra in noted if extra.get("error_id", "?") in seen.message}
    [(record, extra)] = [(record, extra) for record, extra in noted if extra.get("error_id") == error_id]
    assert "RuntimeError <- KeyError" in record.getMessage()
    assert "runtime_workflows.py" in record.getMessage()
    assert (extra["activity"], extra["attempt"]) == ("misbehave", 1)
    assert extra["workflow_id"]
    assert SECRET not in caplog.text + seen.message


@pytest.mark.parametrize("kind", ["echo", "bug", "partial"])
async def test_a_history_holds_nothing_readable(temporal_dev: TemporalServer, kind: str) -> None:
    client = await client_with(temporal_dev, KEY)
    async with working(client) as queue:
        handle = await client.start_workflow(
            RuntimeProbe.run, Order(kind=kind, text=SECRET), id=str(uuid4()), task_queue=queue, memo={"note": SECRET}
        )
        await handle.result()
        failing = await client.start_workflow(
            RuntimeFailing.run, Order(kind=kind, text=SECRET), id=str(uuid4()), task_queue=queue
        )
        with pytest.raises(WorkflowFailureError):
            await failing.result()
    plain = await Client.connect(temporal_dev.address)
    for each in (handle, failing):
        history = await plain.get_workflow_handle(each.id).fetch_history()
        raw = b"".join(event.SerializeToString() for event in history.events)
        assert scan_bytes(raw, [SECRET]) == []
        assert b"runtime_workflows.py" not in raw  # stack traces are sealed too


@pytest.mark.parametrize("kind", ["bug", "partial"])
async def test_even_without_a_codec_a_failure_repeats_nothing_of_its_cause(
    temporal_dev: TemporalServer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """The vendor's exception behind ours holds its request, a database's its parameters."""
    client = await client_with(temporal_dev, None)
    async with working(client) as queue:
        handle = await client.start_workflow(
            RuntimeProbe.run, Order(kind=kind, text=SECRET), id=str(uuid4()), task_queue=queue
        )
        await handle.result()
    events = (await handle.fetch_history()).events
    [failed] = [event for event in events if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED]
    assert scan_bytes(failed.SerializeToString(), [SECRET]) == []
    assert SECRET not in caplog.text


@pytest.mark.parametrize("kind", ["partial", "other"])
async def test_an_error_raised_in_workflow_code_reaches_the_caller_whole(
    temporal_dev: TemporalServer, kind: str
) -> None:
    client = await client_with(temporal_dev, KEY)
    async with working(client) as queue:
        with pytest.raises(WorkflowFailureError) as caught:
            await client.execute_workflow(
                RuntimeFailing.run, Order(kind=kind, text="away"), id=str(uuid4()), task_queue=queue
            )
    error = unwrap(caught.value)
    assert error.message == "away"
    if kind == "partial":
        assert isinstance(error, PartialCreate)
        assert error.resource_id == "m-2"
    else:
        assert isinstance(error, ProviderUnavailable)
        assert (error.details, error.retry_after_s) == ({"zone": "local"}, 7)


async def test_a_parent_reads_its_childs_error(temporal_dev: TemporalServer) -> None:
    client = await client_with(temporal_dev, KEY)
    async with working(client) as queue:
        seen = await client.execute_workflow(
            RuntimeParent.run, Order(kind="other", text="away"), id=str(uuid4()), task_queue=queue
        )
    assert (seen.kind, seen.code, seen.message) == ("ProviderUnavailable", "PROVIDER_UNAVAILABLE", "away")


async def test_after_rotation_what_the_old_key_sealed_is_still_read(temporal_dev: TemporalServer) -> None:
    old = await client_with(temporal_dev, OLD_KEY)
    queue = str(uuid4())
    handle = await old.start_workflow(
        RuntimeProbe.run, Order(kind="echo", text="hello"), id=str(uuid4()), task_queue=queue
    )
    rotated = await client_with(temporal_dev, KEY, OLD_KEY)
    async with Worker(rotated, task_queue=queue, workflows=WORKFLOWS, activities=[misbehave]):
        assert (await rotated.get_workflow_handle_for(RuntimeProbe.run, handle.id).result()).message == "hello"


async def test_a_worker_without_the_key_leaves_the_owner_alive_until_the_key_is_back(
    temporal_dev: TemporalServer,
) -> None:
    """An owner of a real machine must not end because of a configuration mistake."""
    old = await client_with(temporal_dev, OLD_KEY)
    queue = str(uuid4())
    handle = await old.start_workflow(
        RuntimeProbe.run,
        Order(kind="echo", text="hello"),
        id=str(uuid4()),
        task_queue=queue,
        task_timeout=timedelta(
            seconds=1
        ),  # a second failure of a task is not reported: the server waits for it this long
    )
    plain = await Client.connect(temporal_dev.address)
    without = await client_with(temporal_dev, KEY)
    async with Worker(without, task_queue=queue, workflows=WORKFLOWS, activities=[misbehave]):
        for _ in range(200):
            history = await plain.get_workflow_handle(handle.id).fetch_history()
            if any(event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED for event in history.events):
                break
        else:
            pytest.fail("the task never failed")
    assert (await handle.describe()).close_time is None
    async with Worker(old, task_queue=queue, workflows=WORKFLOWS, activities=[misbehave]):
        assert (await handle.result()).message == "hello"


async def test_the_request_is_known_in_every_activity_child_and_run(temporal_dev: TemporalServer) -> None:
    client = await client_with(temporal_dev, KEY)
    starter = RequestContext(request_id="r-1", organization_id="o-1")
    signaller = RequestContext(request_id="r-2", organization_id="o-1")
    async with working(client) as queue:
        with bound_context(starter):
            handle = await client.start_workflow(RuntimeContext.run, 1, id=str(uuid4()), task_queue=queue)
        while not await handle.query(RuntimeContext.is_last_run):
            pass
        with bound_context(signaller):
            await handle.signal(RuntimeContext.go, Order(kind="go"))
        seen = await handle.result()
    assert seen == [starter, starter, starter, starter, signaller]


async def test_a_recorded_history_replays_with_the_plugin_alone(temporal_dev: TemporalServer) -> None:
    client = await client_with(temporal_dev, KEY)
    async with working(client) as queue:
        handle = await client.start_workflow(
            RuntimeProbe.run, Order(kind="no-capacity"), id=str(uuid4()), task_queue=queue
        )
        await handle.result()
    replayer = Replayer(workflows=WORKFLOWS, plugins=[platform_plugin(KEY)], namespace=client.namespace)
    await replayer.replay_workflow(await handle.fetch_history())


async def test_a_selection_that_would_kill_nothing_stops_the_worker(
    temporal_dev: TemporalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUARTERDECK_CRASH_AT", "misbehave:befor_call")
    client = await client_with(temporal_dev, KEY)
    with pytest.raises(UnknownCrashPoint, match="misbehave:before_call"):
        await Worker(client, task_queue=str(uuid4()), workflows=WORKFLOWS, activities=[misbehave]).run()
