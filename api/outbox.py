"""Delivering at once what this process has just committed; what it does not manage, a dispatcher does (DESIGN rule 4)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

from activities.runtime.client import connect
from delivery.outbox import OutboxDelivery
from models.base.errors import AppError
from models.contracts.outbox import OutboxMessage
from models.contracts.owner_kinds import OwnerKinds
from models.repositories import outbox
from models.repositories.database import Database
from models.settings import Settings
from models.settings.derived import public_url

logger = logging.getLogger(__name__)

PARALLEL = 8
WAITING_LIMIT = 200
"""Messages waiting here at most: under a burst the dispatcher takes the rest, and nothing grows without bound."""

CROWD = 4
"""Transactions under way from which on this process only commits: starting a workflow costs more than accepting an order, and
would be paid by those who wait for an answer. A dispatcher, in another process, has the message two seconds later.
"""

SETTLE_INTERVAL_S = 0.2
STOP_TIMEOUT_S = 2.0


async def delivery_to(settings: Settings, kinds: OwnerKinds) -> OutboxDelivery:
    """Lazily connected: the API starts, reads and accepts commands while the workflow engine is away."""
    return OutboxDelivery(await connect(settings, lazy=True), kinds, api_url=public_url(settings))


class EagerDelivery:
    """Losing everything in here changes nothing but the moment of delivery: the rows are committed."""

    def __init__(self, requests: Database, upkeep: Database, connect: Callable[[], Awaitable[OutboxDelivery]]) -> None:
        self._requests, self._database, self._connect = requests, upkeep, connect
        self._waiting: asyncio.Queue[OutboxMessage] = asyncio.Queue(WAITING_LIMIT)
        self._delivered: list[UUID] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._delivery: OutboxDelivery | None = None

    def soon(self, message: OutboxMessage | None) -> None:
        """Call it after the commit. Returns at once."""
        if message is None or self._requests.transactions_under_way >= CROWD:
            return
        with suppress(asyncio.QueueFull):
            self._waiting.put_nowait(message)

    async def start(self) -> None:
        self._delivery = await self._connect()
        self._tasks = [asyncio.create_task(self._deliver()) for _ in range(PARALLEL)]
        self._tasks.append(asyncio.create_task(self._settle_regularly()))

    async def close(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._waiting.join()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._settle()

    async def _deliver(self) -> None:
        while True:
            message = await self._waiting.get()
            try:
                if self._delivery is not None:
                    await self._delivery.deliver(message)
                    self._delivered.append(message.id)
            except AppError as error:
                logger.info("message %s is left to the dispatcher (%s)", message.id, error.code)
            except Exception as error:  # noqa: BLE001  (a message that cannot be delivered must not end this task)
                logger.warning("message %s is left to the dispatcher (%s)", message.id, type(error).__name__)
            finally:
                self._waiting.task_done()

    async def _settle_regularly(self) -> None:
        while True:
            await asyncio.sleep(SETTLE_INTERVAL_S)
            await self._settle()

    async def _settle(self) -> None:
        """In batches: an unsettled message is delivered once more, which its owner does not mind."""
        ids, self._delivered = self._delivered, []
        if not ids:
            return
        try:
            async with self._database.system() as session:
                await outbox.settle(session, ids)
        except AppError as error:
            logger.warning("%d delivered messages are not marked so (%s)", len(ids), error.code)
