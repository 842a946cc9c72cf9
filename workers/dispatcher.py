"""The dispatcher: delivers what is due in the outbox, whoever wrote it and whatever crashed meanwhile (DESIGN rule 4)."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from models.base.errors import AppError
from models.contracts.outbox import OutboxMessage
from models.repositories import outbox
from models.repositories.database import Database
from models.repositories.listener import Connection, Listener

logger = logging.getLogger(__name__)

BATCH = 100
PARALLEL = 16
LEASE_S = 20.0
"""How long a claimed message is left alone: a dispatcher that was killed with it delays it by so much at most."""

LONGEST_WAIT_S = 2.0
"""Between two looks when nobody notifies: rows whose time comes later, and leases that run out."""

LONGEST_DELAY_S = 30.0


class Delivery(Protocol):
    async def deliver(self, message: OutboxMessage) -> None:
        """Returns once the workflow has the message. Raises AppError."""


class Dispatcher:
    """Runs until cancelled. Any number of processes may run one: claims skip what another holds."""

    def __init__(self, database: Database, url: str, delivery: Delivery) -> None:
        self._database, self._delivery = database, delivery
        self._wake = asyncio.Event()
        self._listener = Listener(url, "outbox", on_connected=self._woken, on_round=self._heard)
        self._slots = asyncio.Semaphore(PARALLEL)

    async def run(self) -> None:
        await self._listener.start()
        try:
            while True:
                self._wake.clear()
                if not await self._deliver_due():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LONGEST_WAIT_S):
                            await self._wake.wait()
        finally:
            await self._listener.close()

    async def _deliver_due(self) -> bool:
        """True when there may be more."""
        try:
            async with self._database.system() as session:
                due = await outbox.claim(session, most=BATCH, lease_s=LEASE_S)
            if due:
                await self._deliver(due)
        except AppError as error:
            logger.warning("the outbox cannot be read (%s)", error.code)
            await asyncio.sleep(1.0)
            return False
        return len(due) == BATCH

    async def _deliver(self, due: Sequence[OutboxMessage]) -> None:
        outcomes = await asyncio.gather(*(self._one(message) for message in due))
        delivered = [message.id for message, error in zip(due, outcomes, strict=True) if error is None]
        alarming: list[tuple[OutboxMessage, AppError]] = []
        async with self._database.system() as session:
            if delivered:
                await outbox.settle(session, delivered)
            for message, error in zip(due, outcomes, strict=True):
                if error is not None:
                    delay_s = min(0.5 * 2 ** min(message.attempts, 6), LONGEST_DELAY_S)
                    if await outbox.postpone(session, message.id, error_code=error.code, delay_s=delay_s):
                        alarming.append((message, error))
        for message, error in alarming:
            await self._alarm(message, error)

    async def _alarm(self, message: OutboxMessage, error: AppError) -> None:
        """Once for each message, whichever dispatcher comes first. One that dies in between leaves it to the next attempt."""
        try:
            async with self._database.system() as session:
                is_first = await outbox.alarm(session, message.id)
        except SQLAlchemyError as failure:  # ids in it that are none, for one: it must not hold up all others either
            logger.warning("message %s has no alarm (%s)", message.id, type(failure).__name__)
            return
        if is_first:
            minutes = outbox.ALARM_AFTER_S / 60
            logger.error(
                "message %s to %s cannot be delivered for %.0f minutes (%s); it is tried again until it is",
                message.id, message.workflow_id, minutes, error.code,
            )  # fmt: skip

    async def _one(self, message: OutboxMessage) -> AppError | None:
        async with self._slots:
            try:
                await self._delivery.deliver(message)
            except AppError as error:
                logger.warning("message %s was not delivered (%s)", message.id, error.code)
                return error
            except Exception as error:  # noqa: BLE001  (one bad message must not hold up all others, nor end the process)
                logger.warning("message %s cannot be delivered (%s)", message.id, type(error).__name__)
                return AppError("the message cannot be delivered")
            return None

    async def _woken(self, _connection: Connection) -> None:
        self._wake.set()

    async def _heard(self, _connection: Connection, payloads: frozenset[str]) -> None:
        if payloads:
            self._wake.set()
