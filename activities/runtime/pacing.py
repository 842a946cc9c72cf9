"""Calls to a provider that asks to slow down: sent again, each after a wait of its own, for as long as its attempt can spare.

A policy of Temporal begins a whole attempt anew, and all that waited for the same `Retry-After` at the same moment. Where a
provider lets one call in five through, an attempt of several calls would hardly ever come to its end, and a crowd that returns
together is refused together. So a refused call alone is sent again, within the attempt: after what the provider asks for and a
random time on top, which doubles with every refusal (full jitter).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from activities.runtime.heartbeat import Heartbeat
from models.base.errors import ProviderThrottled
from models.contracts.pending_calls import AttemptHeld
from models.domain.holds import HoldCode

Answer = TypeVar("Answer")

FIRST_S: Final = 0.5
"""The most that is added to the first wait, where the provider asks for less."""
LONGEST_S: Final = 4.0
"""The most that is ever added: longer ones would leave a small capacity unused."""
PATIENCE_S: Final = 60.0
"""All waits of one call together: some 25 tries, of which one in five will do. Then the attempt ends and says why, and Temporal
begins another, which has to do all anew that this one had done."""
SPARED_S: Final = 3.0
"""Before an attempt's own time is over: it is to end with the provider's answer, not with a time-out."""


class Pace:
    """Of the calls to one provider. `sleep` and `uniform` are for tests."""

    def __init__(
        self,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._sleep, self._uniform = sleep, uniform

    async def call(self, send: Callable[[], Awaitable[Answer]]) -> Answer:
        """What the provider answers once it takes the call. `send` raises ProviderThrottled for a refusal that did nothing.

        Raises that when patience is over, with the time after which to try again, and at once whatever else `send` raises.
        """
        beat = Heartbeat.current()
        waited_s, most_added_s = 0.0, 0.0
        while True:
            try:
                answer = await send()
            except ProviderThrottled as refusal:
                asked_s = refusal.retry_after_s or 0.0
                most_added_s = min(most_added_s * 2 or max(asked_s, FIRST_S), LONGEST_S)
                wait_s = asked_s + self._uniform(0.0, most_added_s)
                if waited_s + wait_s > PATIENCE_S or (beat is not None and wait_s > beat.left_s - SPARED_S):
                    refusal.retry_after_s = wait_s
                    raise
                _say(beat, AttemptHeld(code=HoldCode.PROVIDER_THROTTLED))
                await self._sleep(wait_s)
                waited_s += wait_s
            else:
                if waited_s:
                    _say(beat, None)
                return answer


def _say(beat: Heartbeat | None, held: AttemptHeld | None) -> None:
    """To who asks the server how the attempt fares."""
    if beat is not None:
        beat.details = () if held is None else (held,)
