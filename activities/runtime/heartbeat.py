"""Heartbeats of a long activity, sent beside its work so that no await of it can delay them."""

import asyncio
import math
import time
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final, Self

from temporalio import activity

DEFAULT_INTERVAL_S: Final = 10.0
"""Seconds between heartbeats of an activity without a heartbeat time-out: they still carry its cancellation to it."""


class Heartbeat:
    """`async with Heartbeat() as beat:` beats at once and then three times per heartbeat time-out.

    `beat.details` is the resume cursor: assign it as the work advances, and the next attempt finds the last one sent in
    `activity.info().heartbeat_details`. An assignment is sent with the next beat; `beat.now()` sends it at once.
    """

    def __init__(self, *details: Any) -> None:
        self.details: tuple[Any, ...] = details
        self._task: asyncio.Task[None] | None = None
        self._ends_at_s = math.inf
        self._token: Token[Heartbeat | None] | None = None

    @staticmethod
    def current() -> "Heartbeat | None":
        """That of the activity whose code is running: for who works for one without being told so."""
        return _CURRENT.get()

    @property
    def left_s(self) -> float:
        """What this attempt has left, in seconds."""
        return self._ends_at_s - time.monotonic()

    def now(self) -> None:
        activity.heartbeat(*self.details)

    async def __aenter__(self) -> Self:
        timeout, whole = activity.info().heartbeat_timeout, activity.info().start_to_close_timeout
        self._ends_at_s = time.monotonic() + whole.total_seconds() if whole else math.inf
        self._token = _CURRENT.set(self)
        interval_s = timeout.total_seconds() / 3 if timeout else DEFAULT_INTERVAL_S
        self.now()
        self._task = asyncio.create_task(self._beat(interval_s))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _CURRENT.reset(self._token)
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled() and (broken := self._task.exception()) is not None and error is None:
            raise broken  # beats stopped while the work went on, which the server reads as a dead worker

    async def _beat(self, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            self.now()


_CURRENT: ContextVar[Heartbeat | None] = ContextVar("heartbeat", default=None)
