"""What the worker processes of the crash point tests run."""

import asyncio
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

from activities.runtime.crash import crash_point, crash_points
from activities.runtime.plugin import platform_plugin


@activity.defn
@crash_points()
async def create_thing(effects: str) -> int:
    """Leaves a mark per real effect; the attempt is the result."""
    crash_point("create_thing", "before_call")
    with Path(effects).open("a") as file:  # noqa: ASYNC230 - a test's side effect
        file.write("created\n")
    crash_point("create_thing", "after_call")
    return activity.info().attempt


@workflow.defn(name="CrashProbe")
class CrashProbe:
    """One activity that a killed worker leaves behind for the next one."""

    @workflow.run
    async def run(self, effects: str) -> int:
        return await workflow.execute_activity(create_thing, effects, start_to_close_timeout=timedelta(seconds=2))


async def main(address: str, queue: str) -> None:
    client = await Client.connect(address, plugins=[platform_plugin(None)])
    async with Worker(
        client,
        task_queue=queue,
        workflows=[CrashProbe],
        activities=[create_thing],
        # How long the server keeps a task for a worker that was killed before it offers it to another: 10 s by default.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
    ):
        await asyncio.Event().wait()
