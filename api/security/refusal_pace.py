"""Answers that go when they are due and not when they are ready, so that how long the work took does not show."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

STEP_S = 0.5
"""Several times what a password check takes (tens of milliseconds)."""


class RefusalPace:
    def __init__(
        self,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._now_s = now_s
        self._sleep = sleep

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Leaves the block at whole steps after it was entered: the first, or the next that the work inside left free."""
        began_s = self._now_s()
        yield
        taken_s = self._now_s() - began_s
        await self._sleep(max(1, math.ceil(taken_s / STEP_S)) * STEP_S - taken_s)
