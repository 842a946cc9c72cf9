"""Which requests run and which wait: one per slot of the model server, first come, first served."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SlotGate:
    """Waiting here costs nothing and ends with the client; a request waiting inside llama.cpp occupies one of its threads."""

    def __init__(self, slots: int) -> None:
        self.total = slots
        self.busy = 0
        self.waiting = 0
        self._free = asyncio.Semaphore(slots)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1
            self._free.release()
