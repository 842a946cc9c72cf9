"""Temporal's schedules, kept as the rows say."""

from temporalio import workflow

from activities.schedules import ScheduleActivities
from models.contracts.rounds import RoundsInput
from models.contracts.schedules import LookAtSchedules, ReconcileSchedules, SchedulesReconciled
from models.contracts.task_queues import TaskQueue
from workflows import options
from workflows.lib.rounds import repeat


@workflow.defn(name="Schedules")
class SchedulesWorkflow:
    """Compares for ever, id `schedules`, and at once when it is asked to. It keeps nothing: every pass reads everything anew."""

    def __init__(self) -> None:
        self._is_asked = False
        self._rounds = 0

    @workflow.run
    async def run(self, request: RoundsInput) -> SchedulesReconciled:
        if request.is_endless:
            await repeat(self._reconcile, options.SCHEDULES_EVERY, request, is_asked=lambda: self._is_asked)
        return await self._reconcile()

    @workflow.signal
    def look(self, _now: LookAtSchedules) -> None:
        self._is_asked = True

    async def _reconcile(self) -> SchedulesReconciled:
        """Rows that change during a pass ask for the next one: however many they are, one."""
        self._is_asked = False
        self._rounds += 1
        return await workflow.execute_activity_method(
            ScheduleActivities.reconcile_schedules,
            ReconcileSchedules(round=self._rounds),
            task_queue=TaskQueue.RECORDS,
            summary="make Temporal's schedules what the rows say",
            **options.RECONCILE_SCHEDULES,
        )
