"""The sweeper: what went silent, who is missing, what is old, looked for every few seconds."""

from temporalio import workflow

from activities.sweeper import SweeperActivities
from models.contracts.rounds import RoundsInput
from models.contracts.sweeper import SweepInput, SweepResult
from models.contracts.task_queues import TaskQueue
from workflows import options
from workflows.lib.rounds import repeat


@workflow.defn(name="Sweeper")
class SweeperWorkflow:
    """Sweeps for ever, id `sweeper`. It keeps nothing: every sweep reads everything anew."""

    @workflow.run
    async def run(self, request: RoundsInput) -> SweepResult:
        if request.is_endless:
            await repeat(self._sweep, options.SWEEP_EVERY, request)
        return await self._sweep()

    async def _sweep(self) -> SweepResult:
        return await workflow.execute_activity_method(
            SweeperActivities.sweep, SweepInput(), task_queue=TaskQueue.RECORDS, summary="one sweep", **options.SWEEP
        )
