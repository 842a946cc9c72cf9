"""One run of a schedule: what it orders."""

from temporalio import workflow

from activities.scheduled_orders import ScheduledOrderActivities
from models.contracts.schedules import ScheduledOutcome, ScheduledRun
from models.contracts.task_queues import TaskQueue
from workflows import options


@workflow.defn(name="ScheduledOrder")
class ScheduledOrderWorkflow:
    """One run of a schedule that orders something of an owner, id `scheduled/{id of the row}-{time}`."""

    @workflow.run
    async def run(self, run: ScheduledRun) -> ScheduledOutcome:
        return await workflow.execute_activity_method(
            ScheduledOrderActivities.order_scheduled,
            run,
            task_queue=TaskQueue.RECORDS,
            summary=f"have {run.kind} ordered",
            **options.ORDER_SCHEDULED,
        )
