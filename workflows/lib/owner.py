"""The owner of an object of any kind: it reads the row, acts on what it says, and holds where it cannot. It outlives what fails.

A kind of owner is added with four things, of which `workflows/instances` is the large example:

- contracts (`models/contracts/owners.py` has what they are made of): the input, which is the owner's state; a snapshot of the
  row; a projection, and what applying it answers with;
- two local activities: one reads the row, one applies a projection once, in one transaction with everything that hangs on it;
- a subclass of `Owner` that says how to call them, which states are final, and has a `project` with typed changes;
- a workflow that takes `OwnerSignals`, makes the owner in its `@workflow.init`, and runs `owner.live(act)`: `act` is one pass, a
  total `match` over the row's status, and a phase is a function of the owner.

A phase reads `owner.row`, does one thing and returns: the loop comes back. What is asked for is on the row, and a signal causes
nothing but another look. What must survive the process is on the row before the world is touched; what only spares work is in
`owner.state`.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

from activities.runtime.failures import unwrap
from models.base.errors import AppError
from models.contracts.pending_calls import CallView
from models.domain.holds import unexpected
from workflows import options, patches
from workflows.lib.owned_row import OwnedRow, Row, State
from workflows.lib.renewal import is_due

Activities = TypeVar("Activities")
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Interrupted(Exception):
    """What was under way is given up, and the row is looked at anew."""


class Unwanted(Interrupted):
    """A call was given up because of what the object's row wants now; what it did is not known."""


class Overtaken(Interrupted):
    """The row is not the one that a call was made for: it was restored, or another owner has moved it on. What the call
    came to is not for this row to say; whoever needs it finds it again.
    """


class Owner(OwnedRow[Row, State]):
    """The working memory of one object's owner, and its life."""

    NOT_FOUND: ClassVar[str]
    """The code of the error that `read_row` raises for a row that is not there."""

    async def live(self, act: Callable[[], Awaitable[None]]) -> None:
        """Passes, until the row is over or gone.

        A cancellation from outside ends nothing: it stays on the primary task, and the owner's work is another one. Now and then
        the owner goes on as a new run, with its state; `is_renewal_due` tells a phase that repeats something by itself.
        """
        life = asyncio.ensure_future(self._passes(act))
        while not life.done():
            with suppress(asyncio.CancelledError):
                await asyncio.shield(life)
        await life

    async def _passes(self, act: Callable[[], Awaitable[None]]) -> None:
        phase = self.phase
        while not self.is_over:
            if is_due(at_boundary=self.phase != phase):
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(self.state)
            phase = self.phase
            await self._pass(act)

    @property
    def is_renewal_due(self) -> bool:
        """Whether a pass that goes round in a loop of its own is to come back."""
        return is_due(at_boundary=False)

    async def _pass(self, act: Callable[[], Awaitable[None]]) -> None:
        """One that cannot end the owner: what it did not expect it reports, waits, and looks at the row again."""
        try:
            if self.has_news:
                await self.load()
            self.begin_pass()
            await act()
        except Interrupted:
            return  # the next pass sees what is wanted
        except (FailureError, AppError) as failure:  # a local activity that is refused fails without an ActivityError
            error = unwrap(failure)
            if error.code == self.NOT_FOUND and workflow.patched(patches.ROWLESS_OWNERS_END):
                workflow.logger.warning("an owner ends: the database has no such row")
                self.end_without_row()
                return
            workflow.logger.error("an owner holds after %s", error.code)
            self.holding.note(unexpected(error))
            await self.show_hold()
            await self.pause(options.HOLD_S)
        else:
            self.holding.end_with_pass()
            if not self.is_over:
                await self.show_hold()

    @property
    @abstractmethod
    def stage(self) -> tuple[object, ...]:
        """What nobody but the owner changes of a row that it works on."""

    @property
    def is_call_unwanted(self) -> bool:
        """Whether the row wants nothing begun or awaited outside any more: never, unless the kind knows of such a wish."""
        return False

    async def look_at_call(self) -> CallView | None:
        """How the call under way fares, where the kind can ask (`activities/pending_calls.py`). Raises the activity's failure."""
        return None

    async def call(
        self,
        activity: Callable[[Activities, Asked], Awaitable[Answer]],
        request: Asked,
        call_options: options.ActivityOptions,
        *,
        task_queue: str,
        summary: str,
    ) -> Answer:
        """Run an activity that touches the world, and hear of the row meanwhile. Raises the AppError that it ended with.

        Once the row does not want it any more nothing is begun, and a wish that comes meanwhile cancels the call and waits until
        it is over, so that nothing is done behind the next phase's back. Both raise Unwanted, unless the call came to its end
        all the same. A row that has become another one, or is gone, cancels the call too, and raises Overtaken, or what reading
        it raised. News that was read meanwhile is news to `wait_for_news`.
        """
        if self.is_call_unwanted:
            raise Unwanted
        made_for = self.stage
        handle = workflow.start_activity_method(
            activity,
            request,
            task_queue=task_queue,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary,
            **call_options,
        )
        look_s = options.FIRST_LOOK_S if workflow.patched(patches.CALLS_ARE_LOOKED_AT) else None
        while not handle.done():
            try:
                await workflow.wait_condition(
                    lambda: handle.done() or self.has_news, timeout=options.seconds(look_s) if look_s else None
                )
            except TimeoutError:
                await self._look_at_call()
                look_s = min(look_s * 2, options.LONGEST_LOOK_S) if look_s else None
            if self.has_news and not handle.done():
                await self._load_beside(handle)
            if (self.is_call_unwanted or self.stage != made_for) and not handle.done():
                handle.cancel()
                break
        try:
            result = await handle
        except ActivityError as failure:
            if self.stage != made_for:
                raise Overtaken from failure
            if self.is_call_unwanted:
                raise Unwanted from failure
            raise unwrap(failure) from failure
        if self.stage != made_for:
            raise Overtaken
        self.holding.end_at_provider()
        return result

    async def _load_beside(self, call: workflow.ActivityHandle[Any]) -> None:
        """Read the row while the call is under way. It does not outlive its owner."""
        try:
            await self.load()
        except FailureError:
            if workflow.patched(patches.ROWLESS_OWNERS_END):
                call.cancel()
                with suppress(ActivityError):
                    await call
            raise

    async def _look_at_call(self) -> None:
        """A call that is tried again and again, or that nobody takes up, holds the owner up without coming back to it."""
        try:
            seen = await self.look_at_call()
        except FailureError as failure:
            workflow.logger.warning("how a call fares is not known (%s)", unwrap(failure).code)
            return
        if seen is None:
            return
        if seen.held is not None:
            self.holding.note(seen.held, of_call=True)
        elif seen.is_known:
            self.holding.end_at_provider()
        await self.show_hold()
