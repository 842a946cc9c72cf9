"""Wakes whoever follows a stream of events. What happened is read from the table; a notification only says when to look."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from models.repositories.listener import Connection, Listener

CHANNEL = "events"


class EventFeed:
    """One listening connection per process for any number of followers, which stop when `stopping` is set."""

    def __init__(self, listen_url: str) -> None:
        self._bells: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._listener = Listener(listen_url, CHANNEL, on_connected=self._ring_all, on_round=self._ring)
        self.stopping = False

    async def start(self) -> None:
        await self._listener.start()

    async def close(self) -> None:
        self.stop_followers()
        await self._listener.close()

    def stop_followers(self) -> None:
        """Every stream ends now: a server that shuts down waits for its connections."""
        self.stopping = True
        for bells in self._bells.values():
            for bell in bells:
                bell.set()

    @contextmanager
    def bell(self, stream: str) -> Iterator[asyncio.Event]:
        """An event that is set when the stream may have grown. Take it before reading, clear it before each read."""
        bell = asyncio.Event()
        self._bells[stream].add(bell)
        try:
            yield bell
        finally:
            self._bells[stream].discard(bell)
            if not self._bells[stream]:
                del self._bells[stream]

    async def _ring_all(self, connection: Connection) -> None:
        """After a new connection: what was notified in between is lost."""
        await self._ring(connection, frozenset(self._bells))

    async def _ring(self, _connection: Connection, streams: frozenset[str]) -> None:
        for stream in streams:
            for bell in self._bells.get(stream, ()):
                bell.set()
