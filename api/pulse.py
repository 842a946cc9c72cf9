"""The round trip that this process makes to the database every 5 s, whoever asks it for something.

It hears how many messages are stuck in the outbox, which alarms are open, and what families ask (`ApiFamily.beat`): `/health`
tells it to everybody, and no request may cost the database a count. The fleet says by it that heartbeats are taken here: who
judges an agent's silence must know whether anybody listened.
"""

import asyncio
import logging
from contextlib import suppress

from models.base.errors import ServiceUnavailable
from models.repositories import pulse
from models.repositories.database import Database
from models.repositories.pulse import Ailments, Calls

logger = logging.getLogger(__name__)

INTERVAL_S = 5.0


class Pulse:
    def __init__(self, database: Database, calls: Calls) -> None:
        self._database, self._calls = database, calls
        self._task: asyncio.Task[None] | None = None
        self.ailments = Ailments()
        """As of the last answer; at most `pulse.STUCK_COUNTED` messages of either kind."""

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="pulse")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                async with self._database.system() as session:
                    found = await pulse.beat(session, self._calls)
                self._note(found)
            except ServiceUnavailable:
                logger.warning("the database is away: agents will be given their full time anew")
            except Exception as error:  # noqa: BLE001  (a right or a function that is missing may come; nobody starts this again)
                logger.warning("the database refuses the pulse (%s); again in %.0f s", type(error).__name__, INTERVAL_S)
            await asyncio.sleep(INTERVAL_S)

    def _note(self, found: Ailments) -> None:
        """Only the turns are logged: messages that no dispatcher takes up have nobody else who would say so. Of a machine the
        worker that finds it tells.
        """
        if found.stuck_messages and not self.ailments.stuck_messages:
            logger.error("messages are stuck in the outbox: %d so far", found.stuck_messages)
        elif self.ailments.stuck_messages and not found.stuck_messages:
            logger.info("no message is stuck in the outbox any more")
        self.ailments = found
