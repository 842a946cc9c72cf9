"""One long-lived workflow for what repeats every few seconds, instead of an execution each (DESIGN 4)."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from activities.runtime.failures import unwrap
from models.base.errors import AppError
from models.contracts.rounds import RoundsInput
from workflows import options

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def until_next(now: datetime, every: timedelta) -> timedelta:
    """Time to the next whole multiple of `every` since the epoch: more than nothing, at most `every`.

    Rounds so keep their beat however long a timer or a round takes, and one that takes longer than a beat skips beats instead
    of being followed by all that it missed.
    """
    return every - (now - EPOCH) % every


async def repeat(
    one_round: Callable[[], Awaitable[object]],
    every: timedelta,
    again: RoundsInput,
    *,
    rounds_per_run: int = options.ROUNDS_PER_RUN,
    is_asked: Callable[[], bool] | None = None,
) -> NoReturn:
    """A round at once and then one at every beat, never two at a time. A round that fails is logged, and the next one follows.

    Where `is_asked` comes true, the next round comes at once; a round makes it false when it begins.

    After `rounds_per_run` rounds, or as soon as the server suggests it, the workflow continues as new with `again`: no history
    grows without bound. A cancellation ends it, as it ends any workflow.
    """
    rounds = 0
    while rounds < rounds_per_run and not workflow.info().is_continue_as_new_suggested():
        began_at = workflow.now()
        workflow.set_current_details(f"at a round since {began_at:%H:%M:%S} UTC")
        failed = await _survived(one_round)
        rounds += 1
        wait = until_next(workflow.now(), every)
        outcome = f"**failed** ({failed}) after" if failed else "took"
        workflow.set_current_details(
            f"next round at {workflow.now() + wait:%H:%M:%S} UTC, the last {outcome} {workflow.now() - began_at}"
        )
        await _pause(wait, is_asked)
    workflow.continue_as_new(again)


async def _survived(one_round: Callable[[], Awaitable[object]]) -> str | None:
    """The code of what it failed with."""
    try:
        await one_round()
    except (FailureError, AppError) as failure:
        if is_cancelled_exception(failure):
            raise
        code = unwrap(failure).code
        workflow.logger.error("a round failed (%s); the next one comes at its time", code)
        return code
    return None


async def _pause(wait: timedelta, is_asked: Callable[[], bool] | None) -> None:
    if is_asked is None:
        await workflow.sleep(wait)
        return
    with suppress(TimeoutError):
        await workflow.wait_condition(is_asked, timeout=wait)
