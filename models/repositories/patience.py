"""Waiting for a limited time in which this process runs: while it is stopped, or its loop stands still, it does not wait."""

import asyncio
import math
from typing import Any

TICK_S = 0.25


async def done_within(timeout_s: float, future: asyncio.Future[Any]) -> bool:
    """Whether the future, which is left alone, is done before `timeout_s` is over. A stall, however long, costs one tick."""
    ticks = max(1, math.ceil(timeout_s / TICK_S))
    for _ in range(ticks + 1):  # the one for a stall
        done, _ = await asyncio.wait([future], timeout=timeout_s / ticks)
        if done:
            return True
    return False
