"""The sweeper: a schedule runs it every few seconds; each run is one activity."""

from temporalio import workflow

from activities.sweeper import SweeperActivities
from models.contracts.sweeper import SweepInput, SweepResult
from models.contracts.task_queues import TaskQueue
from workflows import options


@workflow.defn(name="Sweeper")
class SweeperWorkflow:
    """One sweep, id `sweeper-<time>` as its schedule makes it. It keeps nothing: everything is read anew."""

    @workflow.run
    async def run(self, request: SweepInput) -> SweepResult:
        return await workflow.execute_activity_method(
            SweeperActivities.sweep, request, task_queue=TaskQueue.RECORDS, summary="one sweep", **options.SWEEP
        )
