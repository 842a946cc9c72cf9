"""Every call of the API by what it asks, how many were told to slow down, and a limit on how many are let through.

Of this process and in memory: a restart begins anew.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from simcloud.errors import Rejected, Throttled

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Rate:
    """A bucket of `burst` calls, filled at so many per second."""

    calls_per_s: float
    burst: int = 1
    retry_after_s: float = 1.0


class Calls:
    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._received: Counter[str] = Counter()
        self._throttled: Counter[str] = Counter()
        self._rate: Rate | None = None
        self._tokens, self._filled_at = 0.0, 0.0

    def clear(self) -> None:
        self._received.clear()
        self._throttled.clear()
        self._rate = None

    def limit(self, rate: Rate | None) -> None:
        """From now on, with a full bucket; None lets everything through."""
        self._rate, self._filled_at = rate, self._monotonic()
        self._tokens = float(rate.burst) if rate else 0.0

    def counted(self, name: str, handler: Handler) -> Handler:
        """The handler for calls of that name, as far as they are let through."""

        async def handle(request: web.Request) -> web.StreamResponse:
            self._received[name] += 1
            try:
                self._take()
                return await handler(request)
            except Throttled:
                self._throttled[name] += 1
                raise

        return handle

    def shown(self) -> dict[str, Any]:
        by_name = {
            name: {"received": count, "throttled": self._throttled[name]}
            for name, count in sorted(self._received.items())
        }
        return {"received": self._received.total(), "throttled": self._throttled.total(), "calls": by_name}

    def _take(self) -> None:
        if self._rate is None:
            return
        now = self._monotonic()
        filled = self._tokens + (now - self._filled_at) * self._rate.calls_per_s
        self._tokens, self._filled_at = min(filled, float(self._rate.burst)), now
        if self._tokens < 1.0:
            raise Throttled("too many requests", retry_after_s=self._rate.retry_after_s)
        self._tokens -= 1.0


def rate_of(body: Mapping[str, Any]) -> Rate:
    """Raises Rejected."""
    if unknown := set(body) - {"calls_per_s", "burst", "retry_after_s"}:
        raise Rejected(f"unknown fields {sorted(unknown)}; there are calls_per_s, burst and retry_after_s")
    try:
        rate = Rate(
            float(body["calls_per_s"]), int(body.get("burst", 1)), float(body.get("retry_after_s", Rate.retry_after_s))
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Rejected(
            "calls_per_s and retry_after_s are numbers, burst a whole one; only the first is needed"
        ) from error
    if not (0 < rate.calls_per_s < 1e6 and 1 <= rate.burst < 1e6 and 0 <= rate.retry_after_s < 1e6):
        raise Rejected("calls_per_s is more than 0, burst at least 1, retry_after_s not negative")
    return rate
