"""That this process takes heartbeats: who judges an agent's silence must know whether anybody listened."""

import asyncio
import logging
from contextlib import suppress

from models.base.errors import ServiceUnavailable
from models.repositories import liveness
from models.repositories.database import Database

logger = logging.getLogger(__name__)

INTERVAL_S = 5.0


class Intake:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="heartbeat-intake")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                async with self._database.system() as session:
                    await liveness.note_intake(session)
            except ServiceUnavailable:
                logger.warning("the database is away: agents will be given their full time anew")
            await asyncio.sleep(INTERVAL_S)
