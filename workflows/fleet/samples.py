"""The upkeep of heartbeat samples, every minute."""

from temporalio import workflow

from activities.fleet.samples import SampleActivities
from models.contracts.fleet.samples import UpkeepInput, UpkeepResult
from models.contracts.rounds import RoundsInput
from models.contracts.task_queues import TaskQueue
from workflows import options
from workflows.lib.rounds import repeat


@workflow.defn(name="Samples")
class SamplesWorkflow:
    """Keeps the samples for ever, id `samples`."""

    @workflow.run
    async def run(self, request: RoundsInput) -> UpkeepResult:
        if request.is_endless:
            await repeat(self._keep, options.UPKEEP_EVERY, request)
        return await self._keep()

    async def _keep(self) -> UpkeepResult:
        return await workflow.execute_activity_method(
            SampleActivities.keep_samples,
            UpkeepInput(),
            task_queue=TaskQueue.RECORDS,
            summary="average and age the heartbeat samples",
            **options.SWEEP,
        )
