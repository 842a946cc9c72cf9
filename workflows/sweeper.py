"""The sweeper: what went silent, who is missing, what is old, looked for every few seconds."""

from temporalio import workflow

from activities.sweeper import SweeperActivities
from models.base.errors import AppError
from models.contracts.rounds import RoundsInput
from models.contracts.sweeper import SweepInput, SweepResult
from models.contracts.task_queues import TaskQueue
from workflows import options
from workflows.lib.rounds import repeat


@workflow.defn(name="Sweeper")
class SweeperWorkflow:
    """Sweeps for ever, id `sweeper`. Every sweep reads everything anew.

    It keeps the mark alone that its last sweep left in the database: where they differ, one of the two is of another time. An
    engine that was put back would make any mark of the workflow's own once more, so that the activity makes it.
    """

    @workflow.run
    async def run(self, request: RoundsInput) -> SweepResult:
        if request.is_endless:
            await repeat(lambda: self._sweep_marked(request), options.SWEEP_EVERY, request)
        return await self._sweep(SweepInput())

    async def _sweep_marked(self, request: RoundsInput) -> None:
        """`request` is what the next run begins with."""
        swept = await self._sweep(SweepInput(is_marked=True, mark=request.mark))
        request.mark = swept.mark
        if swept.failed_code is not None:
            raise AppError("a part of the sweep failed", code=swept.failed_code)

    async def _sweep(self, sweep: SweepInput) -> SweepResult:
        return await workflow.execute_activity_method(
            SweeperActivities.sweep, sweep, task_queue=TaskQueue.RECORDS, summary="one sweep", **options.SWEEP
        )
