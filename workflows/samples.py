"""The upkeep of heartbeat samples: a schedule runs it every minute; each run is one activity."""

from temporalio import workflow

from activities.samples import SampleActivities
from models.contracts.samples import UpkeepInput, UpkeepResult
from models.contracts.task_queues import TaskQueue
from workflows import options


@workflow.defn(name="Samples")
class SamplesWorkflow:
    """One round of upkeep, id `samples-<time>` as its schedule makes it."""

    @workflow.run
    async def run(self, request: UpkeepInput) -> UpkeepResult:
        return await workflow.execute_activity_method(
            SampleActivities.keep_samples,
            request,
            task_queue=TaskQueue.RECORDS,
            summary="average and age the heartbeat samples",
            **options.SWEEP,
        )
