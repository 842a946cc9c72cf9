"""Who uses how many of a limited number of places: nobody has all of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(slots=True)
class _Share:
    places: asyncio.Semaphore
    users: int = field(default=0)
    """Those that wait included."""


class Shares:
    """`most` places for each."""

    def __init__(self, most: int, wait_s: float) -> None:
        self._most, self._wait_s = most, wait_s
        self._shares: dict[UUID, _Share] = {}

    @asynccontextmanager
    async def one(self, whose: UUID) -> AsyncIterator[None]:
        """A place inside the block. Raises TimeoutError when none of theirs becomes free in time."""
        share = self._shares.setdefault(whose, _Share(asyncio.Semaphore(self._most)))
        share.users += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await share.places.acquire()
            try:
                yield
            finally:
                share.places.release()
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[whose]
