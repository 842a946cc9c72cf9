"""A table in memory, kept fresh: for what every request needs and no request should ask the database for.

Filled by a full load, then kept up by notifications that name what changed, of which just that is read again. `fresh` says
whether it may be believed: contract decision 6 allows 30 s without proof, then a caller must refuse.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from models.repositories.database_clock import DatabaseClock
from models.repositories.listener import PING_INTERVAL_S, Connection, Listener

K = TypeVar("K")
V = TypeVar("V")

BELIEVED_S = 30.0
"""Contract decision 6: a cache that could not listen for this long refuses."""
RELOAD_INTERVAL_S = 600.0
CATCH_UP_S = 5.0
"""How long who must know waits before it is refused: as long as for a connection to the database, or for a lock there."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[K, V]):
    """One value under its key. `tags` are the notification payloads after which it must be read again."""

    key: K
    value: V
    tags: frozenset[str]


class Source(Protocol[K, V]):
    """Where the entries come from, read over the listener's own connection, which commits each statement by itself.

    After a failure, whatever it is, the replica connects anew and loads everything again.
    """

    async def load_all(self, connection: Connection) -> Iterable[Entry[K, V]]: ...

    async def load_some(self, connection: Connection, tags: frozenset[str]) -> Iterable[Entry[K, V]]:
        """Every entry that now bears one of these tags; what is not among them no longer exists."""
        ...


class Replica(Generic[K, V]):
    """`get` costs a dictionary look-up. `version` grows with every change, for indexes derived from the values."""

    def __init__(
        self,
        url: str,
        channel: str,
        source: Source[K, V],
        *,
        reload_interval_s: float = RELOAD_INTERVAL_S,
        believed_s: float = BELIEVED_S,
        clock: DatabaseClock | None = None,
    ) -> None:
        self._source = source
        self._entries: dict[K, Entry[K, V]] = {}
        self._by_tag: dict[str, set[K]] = {}
        self._reload_interval_s = reload_interval_s
        self._believed_s = believed_s
        self._loaded_at = 0.0
        self.version = 0
        self._changed = asyncio.Event()
        self._listener = Listener(
            url,
            channel,
            on_connected=self._load,
            on_round=self._refresh,
            ping_interval_s=min(PING_INTERVAL_S, reload_interval_s),
            clock=clock,
        )

    @property
    def fresh(self) -> bool:
        return self._listener.age_s <= self._believed_s

    @property
    def age_s(self) -> float:
        """Seconds since it last showed everything; infinite before the first load."""
        return self._listener.age_s

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def values(self) -> Iterator[V]:
        return (entry.value for entry in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    async def start(self, timeout_s: float = 10.0) -> None:
        await self._listener.start(timeout_s)

    async def close(self) -> None:
        await self._listener.close()

    async def catch_up(self, timeout_s: float = CATCH_UP_S) -> bool:
        """True once it shows everything that was committed before this call. Concurrent calls share one round trip.

        An answer that is too old when it arrives, because this process stood still meanwhile, is asked for once more.
        """
        is_current = await self._listener.catch_up(timeout_s)
        return is_current and (self.fresh or await self._listener.catch_up(timeout_s))

    async def changed(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()

    async def _load(self, connection: Connection) -> None:
        self._loaded_at = time.monotonic()
        entries = list(await self._source.load_all(connection))
        self._entries.clear()
        self._by_tag.clear()
        self._put(entries)

    async def _refresh(self, connection: Connection, tags: frozenset[str]) -> None:
        if time.monotonic() - self._loaded_at >= self._reload_interval_s:
            await self._load(connection)
        elif tags:
            entries = list(await self._source.load_some(connection, tags))
            for key in {key for tag in tags for key in self._by_tag.get(tag, ())}:
                self._drop(key)
            self._put(entries)

    def _put(self, entries: Iterable[Entry[K, V]]) -> None:
        for entry in entries:
            self._drop(entry.key)
            self._entries[entry.key] = entry
            for tag in entry.tags:
                self._by_tag.setdefault(tag, set()).add(entry.key)
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _drop(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        for tag in entry.tags if entry is not None else ():
            keys = self._by_tag[tag]
            keys.discard(key)
            if not keys:
                del self._by_tag[tag]
