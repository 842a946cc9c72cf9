"""A worker process killed at each point of an activity, and a second one that goes on."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from activities.runtime.plugin import platform_plugin
from models.contracts.rounds import RoundsInput
from models.contracts.search_attributes import RESOURCE_KIND, search_attributes
from tests.patience import GIVE_UP_S
from tests.workflow.crash_worker import CrashProbe, RoundsProbe
from workers.embedded.temporal import TemporalServer

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def worker(address: str, queue: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys, asyncio; from tests.workflow.crash_worker import main; asyncio.run(main(*sys.argv[1:]))",
        address,
        queue,
        cwd=ROOT,
        env={**os.environ, **environment},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize(("point", "effects"), [("before_call", 1), ("after_call", 2), ("after_return", 2)])
async def test_the_next_worker_goes_on_where_the_killed_one_stopped(
    point: str, effects: int, temporal_dev: TemporalServer, tmp_path: Path
) -> None:
    """Two effects where the first was made and not reported: what find-or-create is there for."""
    client = await Client.connect(temporal_dev.address, plugins=[platform_plugin(None)])
    queue, made = str(uuid4()), tmp_path / "effects"
    selection = {"QUARTERDECK_CRASH_AT": f"create_thing:{point}", "QUARTERDECK_CRASH_ONCE": str(tmp_path / "once")}
    handle = await client.start_workflow(CrashProbe.run, str(made), id=queue, task_queue=queue)
    async with worker(temporal_dev.address, queue, **selection) as first:
        async with asyncio.timeout(GIVE_UP_S):
            assert await first.wait() == -signal.SIGKILL
    async with worker(temporal_dev.address, queue, **selection), asyncio.timeout(GIVE_UP_S):
        assert await handle.result() == 2
    assert len(made.read_text().splitlines()) == effects


async def test_rounds_go_on_after_a_kill_and_are_one_workflow_in_bounded_runs(
    temporal_dev: TemporalServer, tmp_path: Path
) -> None:
    """What an operator sees of it, in lists and on its page, passes from run to run."""
    client = await Client.connect(temporal_dev.address, plugins=[platform_plugin(None)])
    made, queue = tmp_path / "rounds", str(uuid4())
    made.touch()

    async def until_rounds(number: int) -> list[str]:
        async with asyncio.timeout(GIVE_UP_S):
            while len(runs := made.read_text().splitlines()) < number:
                await asyncio.sleep(0.05)
        return runs

    handle = await client.start_workflow(
        RoundsProbe.run,
        RoundsInput(is_endless=True),
        id=str(made),
        task_queue=queue,
        task_timeout=timedelta(seconds=1),
        memo={"api": "http://api.invalid"},
        search_attributes=search_attributes(resource_kind="probe", resource_id=queue, surface="fleet"),
    )
    async with worker(temporal_dev.address, queue) as first:
        await until_rounds(2)
        first.kill()
    async with worker(temporal_dev.address, queue):
        runs = await until_rounds(7)
        running = await client.get_workflow_handle(handle.id).describe()
        await client.get_workflow_handle(handle.id).terminate("the test is over")
    each = [runs.count(run) for run in dict.fromkeys(runs)]
    assert each[0] in (3, 4), "the round that the killed worker had in hand may be made again, no other"
    assert each[1] == 3
    assert running.status is WorkflowExecutionStatus.RUNNING
    assert running.run_id != handle.first_execution_run_id
    assert await running.memo() == {"api": "http://api.invalid"}
    assert running.typed_search_attributes[RESOURCE_KIND] == "probe"
