"""A worker process killed at each point of an activity, and a second one that goes on."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client

from activities.runtime.plugin import platform_plugin
from tests.workflow.crash_worker import CrashProbe
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
        async with asyncio.timeout(20):
            assert await first.wait() == -signal.SIGKILL
    async with worker(temporal_dev.address, queue, **selection), asyncio.timeout(25):
        assert await handle.result() == 2
    assert len(made.read_text().splitlines()) == effects
