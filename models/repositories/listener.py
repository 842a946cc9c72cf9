"""Hearing PostgreSQL notifications, and knowing that nothing was missed.

A dedicated connection LISTENs to one channel. Every wake-up is one round: a question on that connection, whose answer proves
that each notification committed before it has arrived (the server delivers what is pending before it says that it is idle),
then the payloads are handled. A connection that breaks is made anew, and `on_connected` runs again: whatever was
notified in between is lost, so that handler reloads everything.

The handlers are given that connection and read over it: what is waited for here must not depend on a pool that requests use up.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from models.repositories.database import CONNECT_TIMEOUT_S, session_options
from models.repositories.database_clock import DatabaseClock
from models.repositories.identity.session_limits import LOCK_WAIT_S, SessionLimits
from models.repositories.patience import TICK_S, done_within

logger = logging.getLogger(__name__)

PING_INTERVAL_S = 5.0
ROUND_TIMEOUT_S = 2.0
"""A round trip that takes longer means a connection that is gone without having said so: who waits 5 s for an answer gets it over
the next one."""
HANDLING_TIMEOUT_S = 15.0
"""A handler that takes longer hangs. Half of the time for which a replica is believed, so that a second try comes in time. The
server has the same limit for a statement: a connection that is hung up does not end one there."""
LIMITS = SessionLimits(lock_wait_s=LOCK_WAIT_S, statement_s=HANDLING_TIMEOUT_S)
ROUND_SPACING_S = 0.02
"""Least time between the beginnings of two rounds: bursts of notifications and of questions share one."""
CLOSE_TIMEOUT_S = 2.0
RECONNECT_DELAYS_S = (0.1, 0.25, 0.5, 1.0, 2.0)
ASKED_DELAY_S = 0.5
"""The longest pause between two tries to connect while somebody waits for an answer."""

Connection = psycopg.AsyncConnection[Any]


class Listener:
    """Calls `on_connected` after each (re)connection and `on_round` with the payloads of each round (often none).

    Both run one at a time, for HANDLING_TIMEOUT_S at most, and may use the connection. An exception from either drops it, which
    leads to another `on_connected`.
    """

    def __init__(
        self,
        url: str,
        channel: str,
        *,
        on_connected: Callable[[Connection], Coroutine[Any, Any, None]],
        on_round: Callable[[Connection, frozenset[str]], Coroutine[Any, Any, None]],
        ping_interval_s: float = PING_INTERVAL_S,
        clock: DatabaseClock | None = None,
    ) -> None:
        given = conninfo_to_dict(url).get("options", "")
        self._conninfo = make_conninfo(
            url,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name=f"quarterdeck-listen-{channel}",
            options=session_options(str(given), LIMITS),
        )
        self._channel = channel
        self._on_connected = on_connected
        self._on_round = on_round
        self._ping_interval_s = ping_interval_s
        self._clock = clock or DatabaseClock()
        self._verified_at: float | None = None
        self._wake = asyncio.Event()
        self._asked: set[asyncio.Future[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    @property
    def age_s(self) -> float:
        """Seconds since everything notified until then had been handled; infinite before the first time."""
        return float("inf") if self._verified_at is None else time.monotonic() - self._verified_at

    async def start(self, timeout_s: float = 10.0) -> None:
        """Begin, and wait until the first round is done or `timeout_s` is over: a database that is down delays nobody."""
        self._task = asyncio.create_task(self._run(), name=f"listen:{self._channel}")
        await self.catch_up(timeout_s)

    async def close(self) -> None:
        """Let the current round end. A task that is cancelled while it connects leaves half a connection at the server."""
        self._stop.set()
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSE_TIMEOUT_S)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def catch_up(self, timeout_s: float) -> bool:
        """True once everything committed before this call has been handled; False if that takes longer than `timeout_s`.

        Any number of callers at a time share a round. It cuts the pause before the next try to connect short.
        """
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.add(asked)
        self._wake.set()
        try:
            return await done_within(timeout_s, asked)
        finally:
            self._asked.discard(asked)

    async def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
                    listen = sql.SQL("LISTEN {}").format(sql.Identifier(self._channel))
                    await _limited(connection, connection.execute(listen), ROUND_TIMEOUT_S)
                    began = time.monotonic()
                    await _limited(connection, self._ask_the_time(connection, began), ROUND_TIMEOUT_S)
                    await _limited(connection, self._on_connected(connection), HANDLING_TIMEOUT_S)
                    self._verified_at, failures = began, 0
                    await self._rounds(connection)
            except Exception as error:  # noqa: BLE001  (whatever went wrong, a new connection and a full load put it right)
                delay_s = RECONNECT_DELAYS_S[min(failures, len(RECONNECT_DELAYS_S) - 1)]
                failures += 1
                logger.warning(
                    "listening to %s failed (%s); again in %.2f s", self._channel, type(error).__name__, delay_s
                )
                await self._pause(delay_s)

    async def _pause(self, delay_s: float) -> None:
        """Until it is time for another try, which is sooner once somebody asks."""
        await _set_within(min(delay_s, ASKED_DELAY_S), self._stop)
        if delay_s > ASKED_DELAY_S and not self._asked and not self._stop.is_set():
            self._wake.clear()
            await _set_within(delay_s - ASKED_DELAY_S, self._wake)

    async def _rounds(self, connection: Connection) -> None:
        payloads: frozenset[str] = frozenset()
        while not self._stop.is_set():
            began = time.monotonic()
            asked, self._asked = self._asked, set()
            try:
                await _limited(connection, self._ask_the_time(connection, began), ROUND_TIMEOUT_S)
                payloads |= await _notified(connection)
                await _limited(connection, self._on_round(connection, payloads), HANDLING_TIMEOUT_S)
            except BaseException:
                self._asked |= asked  # answered by the first round after the reconnection
                raise
            self._verified_at = began
            for question in asked:
                if not question.done():
                    question.set_result(None)
            await asyncio.sleep(max(0.0, began + ROUND_SPACING_S - time.monotonic()))
            payloads = await _notified(connection)
            if not payloads:
                await self._something_to_do(connection)

    async def _ask_the_time(self, connection: Connection, asked_at_s: float) -> None:
        """The round trip: any answer proves what a round is for, and this one is of use besides."""
        answer = await (await connection.execute("SELECT clock_timestamp()")).fetchone()
        if answer is not None:
            self._clock.hear(answer[0], asked_at_s)

    async def _something_to_do(self, connection: Connection) -> None:
        """Wait for bytes on the connection, for a question, or for the next ping to be due.

        Not by `connection.notifies`, which wakes up ten times a second (docs/decisions/0106-who-waits-for-notifications.md).
        """
        if self._asked or self._stop.is_set():
            return
        loop, descriptor = asyncio.get_running_loop(), connection.fileno()
        self._wake.clear()
        loop.add_reader(descriptor, self._wake.set)
        try:
            await _set_within(self._ping_interval_s, self._wake)
        finally:
            loop.remove_reader(descriptor)


async def _limited(connection: Connection, work: Coroutine[Any, Any, object], timeout_s: float) -> None:
    """Do what waits for the server. Raises TimeoutError, with the connection hung up, if it takes longer.

    A statement that is merely cancelled would wait up to ten seconds more for a server that does not answer.
    """
    task = asyncio.ensure_future(work)
    try:
        if not await done_within(timeout_s, task):
            raise TimeoutError
    finally:
        if not task.done():
            _hang_up(connection)
            await asyncio.wait([task], timeout=TICK_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await task


def _hang_up(connection: Connection) -> None:
    """The other end is not asked: whatever waits for it fails at once. One that has gone already is as good."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)


async def _notified(connection: Connection) -> frozenset[str]:
    """The payloads that came with the answers to statements, and where there are none, those of what has arrived since."""
    return frozenset([notify.payload async for notify in connection.notifies(timeout=0.0)])


async def _set_within(timeout_s: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
