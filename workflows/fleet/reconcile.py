"""What a provider has of ours, compared with our rows every two minutes, and at once when asked to."""

from temporalio import exceptions, workflow
from temporalio.exceptions import ActivityError, TimeoutType, is_cancelled_exception

from activities.fleet.reconcile import ListingActivities, ReconcileActivities
from activities.runtime.failures import unwrap
from models.contracts.fleet.reconcile import FailedListing, LookNow, ReconcileInput, ReconcileResult, ReconcileRounds
from models.contracts.task_queues import TaskQueue
from models.domain.holds import HoldCode
from workflows import options
from workflows.lib.rounds import repeat


@workflow.defn(name="Reconcile")
class ReconcileWorkflow:
    """Compares for ever, id `reconcile/{queue of the provider}`. It keeps nothing: every round reads everything anew.

    One for each provider: what one of them makes wait, or never answers, is no other's business.
    """

    def __init__(self) -> None:
        self._is_asked = False
        self._queue = ""

    @workflow.run
    async def run(self, request: ReconcileRounds) -> ReconcileResult:
        self._queue = request.provider_queue
        if request.is_endless:
            await repeat(self._reconcile, options.RECONCILE_EVERY, request, is_asked=lambda: self._is_asked)
        return await self._reconcile()

    @workflow.signal
    def look(self, _now: LookNow) -> None:
        self._is_asked = True

    async def _reconcile(self) -> ReconcileResult:
        self._is_asked = False
        try:
            return await workflow.execute_activity_method(
                ReconcileActivities.reconcile_machines,
                ReconcileInput(),
                task_queue=self._queue,
                summary="compare the provider's list with our rows",
                **options.RECONCILE,
            )
        except ActivityError as failure:
            if is_cancelled_exception(failure):
                raise
            code = error_code_of(failure)
        await workflow.execute_activity_method(
            ListingActivities.note_listing_failed,
            FailedListing(provider_queue=self._queue, error_code=code),
            task_queue=TaskQueue.RECORDS,
            summary="note that there is no list",
            **options.NOTE_LISTING,
        )
        return ReconcileResult(error_code=code)


def error_code_of(failure: ActivityError) -> str:
    """Why no worker came to the end of a comparison."""
    cause = failure.cause
    is_not_taken_up = isinstance(cause, exceptions.TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_START
    return HoldCode.NO_WORKER if is_not_taken_up else unwrap(failure).code
