"""The row of an object as its owner last saw it: read after news, changed by projections, waited on for more news."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import FailureError

from activities.runtime.failures import unwrap
from models.contracts.operations import OperationChange, Waiting
from models.contracts.owners import AppliedTo, OwnedSnapshot, OwnerState
from models.domain.operations import OperationStatus
from models.domain.sentences import said_of_wait
from workflows import options, patches
from workflows.lib.changes import refuse_unknown
from workflows.lib.holding import Holding
from workflows.lib.moments import Moments

Row = TypeVar("Row", bound=OwnedSnapshot)
State = TypeVar("State", bound=OwnerState)


class OwnedRow(ABC, Generic[Row, State]):
    """The row is the truth: news makes the owner read it again.

    A kind of owner says how its row is read and written, and which of its states end it. Both go through local activities of
    its family, of which `write_row` applies a projection once: `projection_id` tells a repeat, `expected_version` a rival.
    """

    OVER: ClassVar[frozenset[str]]
    """States in which nothing is left to own."""

    def __init__(self, state: State) -> None:
        self.state = state
        """What goes on into the next run, whole. It is the run's input, and changed in place."""
        self.moments = Moments()
        self.holding = Holding(state, self.moments.now)
        self._news = 1  # the row, which it has not read yet
        self._seen = 0
        self._weighed = 0
        self._row: Row | None = None
        self._is_rowless = False

    @abstractmethod
    async def read_row(self) -> Row:
        """The row as it stands now. Raises the failure of the activity."""

    @abstractmethod
    async def write_row(self, fields: Mapping[str, Any], call_options: options.LocalActivityOptions) -> AppliedTo[Row]:
        """Apply the kind's projection, made of these fields and the object's key. Raises the failure of the activity."""

    @property
    def row(self) -> Row:
        if self._row is None:
            raise RuntimeError("the row is read before anything else")
        return self._row

    @property
    def phase(self) -> str | None:
        """The state of the row; None before it is read."""
        return None if self._row is None else self._row.status

    @property
    def is_over(self) -> bool:
        return self._is_rowless or self.phase in self.OVER

    @property
    def has_news(self) -> bool:
        return self._news > self._seen

    def begin_pass(self) -> None:
        """What is read from here on has not been weighed by the pass: its questions were answered before."""
        self.holding.begin_pass()
        self._weighed = self._seen

    def hear_command(self, _operation_id: UUID | None) -> None:
        """An operation was asked for, or an approval decided: the row says which are open, and how."""
        self.hear()

    def hear(self) -> None:
        """The row, or what it is read with, may be another than the owner knows."""
        self._news += 1

    def end_without_row(self) -> None:
        """There is nothing to own: the database is of a time before the object. Should the row come back, the sweeper starts an
        owner for it.
        """
        self._is_rowless = True
        workflow.set_current_details("**ended**: there is no such row in the database, which may have been restored")

    async def load(self) -> None:
        self._seen = self._news
        is_first = self._row is None
        self.see(await self.read_row())
        if is_first and self.holding.held is None:
            self.holding.held = self.row.held  # of an owner before this one

    def see(self, row: Row) -> None:
        """Go on from this row, which an activity of the owner answered with."""
        self._row = row
        self.moments.see(row)
        self.holding.recall(row.held)

    async def apply(self, change: Mapping[str, Any], kind: type, *, waiting: str | Waiting | None = None) -> bool:
        """Change the row; afterwards `row` is what stands. False when somebody else changed it first: look again.

        `kind` is the TypedDict that the change is one of, `waiting` a code of the family's words, with params where it has some.
        Operations move that this decision knew of; at the end of the object, all.
        """
        refuse_unknown(change, kind)
        status = change.get("status")
        if status not in (None, self.row.status):
            self.holding.end()  # it moves
        waits = Waiting(code=waiting) if isinstance(waiting, str) else waiting
        fields = {**change, "waiting": waits}
        if status not in self.OVER:
            fields["operations"] = [self._of_known(each) for each in change.get("operations", [])]
        is_applied = await self._write(fields, self.row, options.RECORD)
        self._describe(waits)
        return is_applied

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
        try:
            is_applied = await self._write({"keeps_waiting": True}, self._row, options.SHOW_HOLD)
        except FailureError as failure:
            workflow.logger.warning("what an owner holds for is not on its row (%s)", unwrap(failure).code)
            return False
        self._describe()
        return is_applied

    async def _write(self, fields: Mapping[str, Any], known: Row, call_options: options.LocalActivityOptions) -> bool:
        applied = await self.write_row(
            {
                **fields,
                "projection_id": workflow.uuid4(),
                "expected_version": known.version,
                "held": self.holding.held,
            },
            call_options,
        )
        self.see(applied.snapshot)
        return applied.applied

    def _describe(self, waiting: Waiting | None = None) -> None:
        """For who looks at the owner in the Temporal UI."""
        held = self.holding.held
        workflow.set_current_details(
            f"**{self.phase or 'not read yet'}**"
            + (f", waiting for {said_of_wait(waiting.code, waiting.params)}" if waiting else "")
            + (f", held by {held.code} since {held.since:%Y-%m-%d %H:%M:%S} UTC" if held else "")
        )

    def _of_known(self, change: OperationChange) -> OperationChange:
        """Only operations that this decision knew of move by it; none succeeds that was never begun."""
        is_success = change.status is OperationStatus.SUCCEEDED
        known = [one for one in self.row.operations if one.kind == change.kind]
        meant = known if change.ids is None else [one for one in known if one.id in change.ids]
        ids = [one.id for one in meant if not (is_success and one.status is OperationStatus.PENDING)]
        return change.model_copy(update={"ids": ids})

    async def wait_for_news(self, timeout_s: float | None = None) -> bool:
        """True when there is news, also when it is time to continue as new; False when the time is over.

        News that was read beside a call, after the pass had weighed the row, is news still: nobody has acted on it.
        """
        if self._seen > self._weighed and workflow.patched(patches.NEWS_BESIDE_CALLS_COUNTS):
            self._weighed = self._seen
            return True
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
        self._weighed = self._seen
        return True

    async def pause(self, timeout_s: float) -> None:
        """Until there is news or the time is over; then the row is to be read again. Raises nothing."""
        with suppress(TimeoutError):
            await workflow.wait_condition(lambda: self.has_news, timeout=options.seconds(timeout_s))
        self._news += 1
