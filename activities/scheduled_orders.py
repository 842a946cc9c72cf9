"""What one run of a schedule orders of the owner of its resource."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from temporalio import activity

from activities.runtime.crash import crash_point, crash_points
from models.base.errors import ServiceUnavailable
from models.contracts.owner_kinds import OwnerKind
from models.contracts.schedules import ScheduledOutcome, ScheduledRun, ScheduleKinds, operation_of_run

if TYPE_CHECKING:
    from models.repositories.schedule_rows import ScheduleRows


class ScheduledOrderActivities:
    """`rows_for` gives the rows over the connections of the owner's family: who has the owner's row keeps its family waiting."""

    def __init__(self, rows_for: Callable[[OwnerKind], ScheduleRows], kinds: ScheduleKinds) -> None:
        self._rows_for, self._kinds = rows_for, kinds

    @activity.defn
    @crash_points()
    async def order_scheduled(self, run: ScheduledRun) -> ScheduledOutcome:
        """Ask for what the schedule is there for, once however often it is tried. Nothing is asked for where the row is paused or
        gone by now, of a resource that is over, and while an operation of that kind is open. Raises ServiceUnavailable.
        """
        kind = self._kinds.of(run.kind)
        if kind is None:
            raise ServiceUnavailable("this process knows no such kind of schedule", code="SCHEDULE_UNKNOWN")
        info = activity.info()
        operation_id = operation_of_run(str(info.workflow_id), info.scheduled_time)
        crash_point("order_scheduled", "before_call")
        reason = await self._rows_for(kind.owner).order(kind, run.schedule_id, run.resource_id, operation_id)
        crash_point("order_scheduled", "after_call")
        return ScheduledOutcome(operation_id=operation_id) if reason is None else ScheduledOutcome(reason=reason)
