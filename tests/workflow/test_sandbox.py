"""The sandbox is loaded once for all runs of a workflow type, and forbids each run what it forbids."""

import asyncio
from uuid import uuid4

from temporalio.client import Client
from temporalio.worker import Replayer, Worker

from activities.runtime.plugin import platform_plugin
from tests.servers import TEST_CODEC_KEY
from tests.workflow import sandboxed_workflows as outside
from tests.workflow.sandboxed_workflows import Refused, Sandboxed, Tried
from workers.embedded.temporal import TemporalServer

RUNS = 12
ROUNDS = 50
"""Long enough that runs in the worker's threads take turns within their first task."""


async def test_runs_share_what_is_loaded_and_each_is_refused_what_no_workflow_may(temporal_dev: TemporalServer) -> None:
    client = await Client.connect(temporal_dev.address, plugins=[platform_plugin(TEST_CODEC_KEY)])
    queue = str(uuid4())
    async with Worker(client, task_queue=queue, workflows=[Sandboxed]):
        handles = [
            await client.start_workflow(Sandboxed.run, Tried(rounds=ROUNDS), id=str(uuid4()), task_queue=queue)
            for _ in range(RUNS)
        ]
        await asyncio.gather(*(handle.signal(Sandboxed.go, Tried()) for handle in handles))
        seen: list[Refused] = await asyncio.gather(*(handle.result() for handle in handles))
        history = await handles[0].fetch_history()
    assert [one.let_through for one in seen] == [[]] * RUNS
    assert len({one.loaded for one in seen}) == 1
    assert seen[0].loaded != id(outside.LOADED)
    replayer = Replayer(workflows=[Sandboxed], plugins=[platform_plugin(TEST_CODEC_KEY)], namespace=client.namespace)
    await replayer.replay_workflow(history)
