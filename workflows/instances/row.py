"""The row of an instance as its owner last saw it: read after news, changed by projections, waited on for more news."""

from contextlib import suppress
from typing import Unpack
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import FailureError

from activities.instances import InstanceActivities
from activities.runtime.failures import unwrap
from models.contracts.instances import (
    Frozen,
    InstanceInput,
    InstanceKey,
    InstanceSnapshot,
    OperationChange,
    Projection,
    Waiting,
)
from models.domain.instances.state import FINAL, DesiredStatus, InstanceStatus
from models.domain.operations import OperationStatus
from workflows import options, patches
from workflows.instances.changes import Change, refuse_unknown
from workflows.instances.holding import Holding

HANDLED_KEPT = 200


class OwnedRow:
    """The row is the truth: news makes the owner read it again."""

    def __init__(self, start: InstanceInput) -> None:
        self.key = InstanceKey(instance_id=start.instance_id, organization_id=start.organization_id)
        self.handled = list(start.handled)
        self.holding = Holding(start.held)
        self._news = 1  # the row, which it has not read yet
        self._seen = 0
        self._row: InstanceSnapshot | None = None

    @property
    def row(self) -> InstanceSnapshot:
        if self._row is None:
            raise RuntimeError("the row is read before anything else")
        return self._row

    @property
    def is_over(self) -> bool:
        return self._row is not None and self._row.status in FINAL

    @property
    def wants_termination(self) -> bool:
        return self.row.desired_status is DesiredStatus.TERMINATED

    @property
    def has_news(self) -> bool:
        return self._news > self._seen

    def hear_command(self, operation_id: UUID) -> None:
        if operation_id in self.handled:
            return
        self.handled = [*self.handled, operation_id][-HANDLED_KEPT:]
        self._news += 1

    def hear_edge(self) -> None:
        self._news += 1

    async def load(self) -> None:
        self._seen = self._news
        is_first = self._row is None
        self._see(
            await workflow.execute_local_activity_method(InstanceActivities.load_instance, self.key, **options.RECORD)
        )
        if is_first and self.holding.held is None:
            self.holding.held = self.row.held  # of an owner before this one

    async def freeze_spec(self) -> Frozen:
        frozen = await workflow.execute_local_activity_method(
            InstanceActivities.freeze_machine_spec, self.key, **options.RECORD
        )
        self._see(frozen.snapshot)
        return frozen

    async def project(self, *, waiting: str | None = None, **change: Unpack[Change]) -> bool:
        """Change the row; afterwards `row` is what stands. False when somebody else changed it first: look again."""
        refuse_unknown(change)
        if change.get("status") not in (None, self.row.status):
            self.holding.end()  # it moves
        is_the_end = change.get("status") is InstanceStatus.TERMINATED
        if not is_the_end:
            change["operations"] = [self._of_known(each) for each in change.get("operations", [])]
        projection = Projection(
            key=self.key,
            projection_id=workflow.uuid4(),
            expected_version=self.row.version,
            waiting=Waiting(on=waiting) if waiting else None,
            held=self.holding.held,
            **change,
        )
        applied = await workflow.execute_local_activity_method(
            InstanceActivities.project_instance, projection, **options.RECORD
        )
        self._see(applied.snapshot)
        self._describe(waiting)
        return applied.applied

    async def show_hold(self) -> bool:
        """Bring the row to what the owner holds for, where it says something else. False where that was tried in vain.

        The details in the Temporal UI come first, and the row in one short attempt: what holds the owner may be what keeps it
        from writing. It says so again after the next pass.
        """
        held = self.holding.held
        if held is not None:
            self._describe()
        if self._row is None or self._row.held == held or not workflow.patched(patches.HOLDS_ARE_SHOWN):
            return True
        projection = Projection(
            key=self.key,
            projection_id=workflow.uuid4(),
            expected_version=self._row.version,
            keeps_waiting=True,
            held=held,
        )
        try:
            applied = await workflow.execute_local_activity_method(
                InstanceActivities.project_instance, projection, **options.SHOW_HOLD
            )
        except FailureError as failure:
            workflow.logger.warning("what an owner holds for is not on its row (%s)", unwrap(failure).code)
            return False
        self._see(applied.snapshot)
        self._describe()
        return applied.applied

    def _see(self, row: InstanceSnapshot) -> None:
        self._row = row
        self.holding.recall(row.held)

    def _describe(self, waiting: str | None = None) -> None:
        """For who looks at the owner in the Temporal UI."""
        held = self.holding.held
        workflow.set_current_details(
            f"**{self._row.status if self._row else 'not read yet'}**"
            + (f", waiting for {waiting}" if waiting else "")
            + (f", held by {held.code} since {held.since:%Y-%m-%d %H:%M:%S} UTC" if held else "")
        )

    def _of_known(self, change: OperationChange) -> OperationChange:
        """Only operations that this decision knew of move by it; none succeeds that was never begun."""
        is_success = change.status is OperationStatus.SUCCEEDED
        known = [one for one in self.row.operations if one.kind is change.kind]
        ids = [one.id for one in known if not (is_success and one.status is OperationStatus.PENDING)]
        return change.model_copy(update={"ids": ids})

    async def wait_for_news(self, timeout_s: float | None = None) -> bool:
        """True when there is news, also when it is time to continue as new; False when the time is over."""
        until = options.seconds(timeout_s) if timeout_s is not None else None
        if until is None:
            self.holding.end_with_pass()
            if not await self.show_hold():  # there may be no news for months, and the row says what is not so
                until = options.seconds(options.HOLD_S)
        try:
            await workflow.wait_condition(
                lambda: self.has_news or workflow.info().is_continue_as_new_suggested(), timeout=until
            )
        except TimeoutError:
            return False
        if self.has_news:
            await self.load()
        return True

    async def pause(self, timeout_s: float) -> None:
        """Until there is news or the time is over; then the row is to be read again. Raises nothing."""
        with suppress(TimeoutError):
            await workflow.wait_condition(lambda: self.has_news, timeout=options.seconds(timeout_s))
        self._news += 1
