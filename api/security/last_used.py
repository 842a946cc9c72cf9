"""When sessions and API keys were last used, written in batches: never per request, at most once a minute per token."""

import asyncio
import logging
import time
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from models.domain.identity.principal import Principal
from models.repositories.database import Database
from models.repositories.database_clock import DatabaseClock
from models.repositories.identity import identities

logger = logging.getLogger(__name__)

RESOLUTION_S = 60.0
"""How far behind a stored `last_used_at` may be."""
WRITE_INTERVAL_S = 5.0


class LastUsed:
    """`seen` is a dictionary look-up. What a crash loses is some seconds of this."""

    def __init__(self, database: Database, clock: DatabaseClock) -> None:
        self._database, self._clock = database, clock
        self._noted_at_s: dict[UUID, float] = {}
        self._sessions: dict[UUID, datetime] = {}
        self._keys: dict[UUID, datetime] = {}
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    def seen(self, principal: Principal) -> None:
        subject = principal.api_key_id or principal.session_id
        now_s = time.monotonic()
        if subject is None or now_s - self._noted_at_s.get(subject, -RESOLUTION_S) < RESOLUTION_S:
            return
        self._noted_at_s[subject] = now_s
        (self._keys if principal.api_key_id else self._sessions)[subject] = self._clock.now()

    async def write(self) -> None:
        """Store what is pending. What cannot be stored stays pending."""
        sessions, self._sessions = self._sessions, {}
        keys, self._keys = self._keys, {}
        oldest_s = time.monotonic() - RESOLUTION_S
        self._noted_at_s = {subject: at_s for subject, at_s in self._noted_at_s.items() if at_s > oldest_s}
        if not sessions and not keys:
            return
        try:
            async with self._database.system() as session:
                await identities.touch(session, sessions, keys)
        except BaseException:
            self._sessions, self._keys = sessions | self._sessions, keys | self._keys
            raise

    async def start(self) -> None:
        self._task = asyncio.create_task(self._write_for_ever(), name="last-used")

    async def close(self) -> None:
        self._stop.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def _write_for_ever(self) -> None:
        while not self._stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_INTERVAL_S):
                    await self._stop.wait()
            try:
                await self.write()
            except Exception as error:  # noqa: BLE001  (these times are not worth more than a warning, nor a restart)
                kind = type(error).__name__
                logger.warning("times of last use not written (%s); again in %.0f s", kind, WRITE_INTERVAL_S)
