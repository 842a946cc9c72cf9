"""Hearing PostgreSQL notifications, and knowing that nothing was missed.

A dedicated connection LISTENs to one channel. Every wake-up is one round: `SELECT 1` on that connection, whose answer proves
that each notification committed before it has arrived (the server delivers what is pending before it says that it is idle),
then the payloads are handled. A connection that breaks is made anew, and `on_connected` runs again: whatever was
notified in between is lost, so that handler reloads everything.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psycopg
from psycopg import Notify, sql
from psycopg.conninfo import make_conninfo

logger = logging.getLogger(__name__)

PING_INTERVAL_S = 5.0
ROUND_TIMEOUT_S = 5.0
"""A round trip that takes longer means a connection that is gone without having said so."""
ROUND_SPACING_S = 0.02
"""Least time between the beginnings of two rounds: bursts of notifications and of questions share one."""
CLOSE_TIMEOUT_S = 2.0
RECONNECT_DELAYS_S = (0.1, 0.25, 0.5, 1.0, 2.0)
CONNECT_TIMEOUT_S = 5


class Listener:
    """Calls `on_connected` after each (re)connection and `on_round` with the payloads of each round (often none).

    Both run one at a time. An exception from either drops the connection, which leads to another `on_connected`.
    """

    def __init__(
        self,
        url: str,
        channel: str,
        *,
        on_connected: Callable[[], Awaitable[None]],
        on_round: Callable[[frozenset[str]], Awaitable[None]],
        ping_interval_s: float = PING_INTERVAL_S,
    ) -> None:
        name = f"quarterdeck-listen-{channel}"
        self._conninfo = make_conninfo(url, connect_timeout=CONNECT_TIMEOUT_S, application_name=name)
        self._channel = channel
        self._on_connected = on_connected
        self._on_round = on_round
        self._ping_interval_s = ping_interval_s
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

    async def catch_up(self, timeout_s: float = 1.0) -> bool:
        """True once everything committed before this call has been handled; False if that takes longer than `timeout_s`.

        Any number of callers at a time share a round trip.
        """
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.add(asked)
        self._wake.set()
        done, _ = await asyncio.wait([asked], timeout=timeout_s)
        self._asked.discard(asked)
        return bool(done)

    async def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
                    payloads: list[str] = []
                    connection.add_notify_handler(_collect(payloads))
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
                    began = time.monotonic()
                    await self._on_connected()
                    self._verified_at, failures = began, 0
                    await self._rounds(connection, payloads)
            except Exception as error:  # noqa: BLE001  (whatever went wrong, a new connection and a full load put it right)
                delay_s = RECONNECT_DELAYS_S[min(failures, len(RECONNECT_DELAYS_S) - 1)]
                failures += 1
                logger.warning(
                    "listening to %s failed (%s); again in %.2f s", self._channel, type(error).__name__, delay_s
                )
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await self._stop.wait()

    async def _rounds(self, connection: psycopg.AsyncConnection[object], payloads: list[str]) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            asked, self._asked = self._asked, set()
            try:
                async with asyncio.timeout(ROUND_TIMEOUT_S):
                    await connection.execute("SELECT 1")
                while notify := connection.pgconn.notifies():  # libpq may hold one that came behind the answer
                    payloads.append(notify.extra.decode())
                heard = frozenset(payloads)
                payloads.clear()
                await self._on_round(heard)
            except BaseException:
                self._asked |= asked  # answered by the first round after the reconnection
                raise
            self._verified_at = began
            for question in asked:
                if not question.done():
                    question.set_result(None)
            await asyncio.sleep(max(0.0, began + ROUND_SPACING_S - time.monotonic()))
            await self._something_to_do(connection)

    async def _something_to_do(self, connection: psycopg.AsyncConnection[object]) -> None:
        """Wait for bytes on the connection, for a question, or for the next ping to be due."""
        if self._asked or self._stop.is_set():
            return
        loop, descriptor = asyncio.get_running_loop(), connection.fileno()
        self._wake.clear()
        loop.add_reader(descriptor, self._wake.set)
        try:
            async with asyncio.timeout(self._ping_interval_s):
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            loop.remove_reader(descriptor)


def _collect(payloads: list[str]) -> Callable[[Notify], None]:
    return lambda notify: payloads.append(notify.payload)
