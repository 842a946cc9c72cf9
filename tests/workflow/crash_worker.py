"""What the worker processes of the crash point tests run."""

import asyncio
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

from activities.runtime.crash import crash_point, crash_points
from activities.runtime.plugin import platform_plugin
from models.contracts.rounds import RoundsInput
from workflows.lib.rounds import repeat


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


@activity.defn
async def one_round(effects: str) -> None:
    with Path(effects).open("a") as file:  # noqa: ASYNC230 - a test's side effect
        file.write(f"{activity.info().workflow_run_id}\n")


@workflow.defn(name="RoundsProbe")
class RoundsProbe:
    """Rounds every second, three to a run. Its id is the file that each of them leaves a mark in."""

    @workflow.run
    async def run(self, request: RoundsInput) -> None:
        await repeat(self._one, timedelta(seconds=1), request, rounds_per_run=3)

    async def _one(self) -> None:
        await workflow.execute_activity(
            one_round, workflow.info().workflow_id, start_to_close_timeout=timedelta(seconds=2)
        )


async def main(address: str, queue: str) -> None:
    client = await Client.connect(address, plugins=[platform_plugin(None)])
    async with Worker(
        client,
        task_queue=queue,
        workflows=[CrashProbe, RoundsProbe],
        activities=[create_thing, one_round],
        # How long the server keeps a task for a worker that was killed before it offers it to another: 10 s by default.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
    ):
        await asyncio.Event().wait()
