"""Group commit of heartbeats: whatever arrives within a moment is written with one call and one commit.

A caller is answered after the commit that holds its heartbeat. While one call is under way the next batch fills up, so a slow
database makes batches larger, not more numerous; past the bound callers are told to come back.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Self

from models.base.errors import AppError, ServiceUnavailable
from models.domain.fleet.instances.heartbeats import Heartbeat, Outcome
from models.repositories.database import Database
from models.repositories.fleet import liveness

log = logging.getLogger(__name__)

GATHER_S = 0.05
BATCH_LIMIT = 500
WAITING_LIMIT = 10_000
CLOSE_WITHIN_S = 5.0

Record = Callable[[Sequence[Heartbeat]], Awaitable[list[Outcome]]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    heartbeat: Heartbeat
    outcome: asyncio.Future[Outcome]

    @property
    def agent(self) -> tuple[object, str]:
        """Who says so. A stranger who reports for an instance does not take the place of its own agent."""
        return self.heartbeat.instance_id, self.heartbeat.token_hash


class Heartbeats:
    """`record` writes a batch in one transaction and returns its outcomes in order."""

    def __init__(self, record: Record, *, gather_s: float = GATHER_S) -> None:
        self._record = record
        self._gather_s = gather_s
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False

    @classmethod
    def into(cls, database: Database) -> Self:
        """Heartbeats that end up in this database."""

        async def record(batch: Sequence[Heartbeat]) -> list[Outcome]:
            async with database.system() as session:
                return await liveness.record(session, batch)

        return cls(record)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="heartbeats")

    async def close(self) -> None:
        """What has arrived is still written, if the database answers in time; then callers are told to come back."""
        self._is_closing = True
        self._arrived.set()
        self._full.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSE_WITHIN_S)
            self._task.cancel()
            await asyncio.wait([self._task])
        for waiting in self._waiting:
            _fail(waiting, _stopping())

    async def submit(self, heartbeat: Heartbeat) -> Outcome:
        """The outcome, after it was committed. Raises ServiceUnavailable while the database is away or cannot keep up."""
        if self._is_closing:
            raise _stopping()
        if len(self._waiting) >= WAITING_LIMIT:
            raise ServiceUnavailable("more heartbeats arrive than can be written; try again", retry_after_s=2.0)
        waiting = _Waiting(heartbeat, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._arrived.set()
        if len(self._waiting) >= BATCH_LIMIT:
            self._full.set()
        return await waiting.outcome

    async def _run(self) -> None:
        while self._waiting or not self._is_closing:
            await self._arrived.wait()
            with contextlib.suppress(TimeoutError):  # the usual case: what has arrived by then is the batch
                async with asyncio.timeout(self._gather_s):
                    await self._full.wait()
            await self._write(self._take())

    def _take(self) -> list[_Waiting]:
        """The next batch, in order of arrival, with one heartbeat per agent: its second one compares with the first."""
        batch: dict[tuple[object, str], _Waiting] = {}
        left: deque[_Waiting] = deque()
        while self._waiting and len(batch) < BATCH_LIMIT:
            waiting = self._waiting.popleft()
            if waiting.outcome.cancelled():
                continue
            if waiting.agent in batch:
                left.append(waiting)
            else:
                batch[waiting.agent] = waiting
        self._waiting.extendleft(reversed(left))
        if not self._waiting and not self._is_closing:
            self._arrived.clear()
        if len(self._waiting) < BATCH_LIMIT and not self._is_closing:
            self._full.clear()
        return list(batch.values())

    async def _write(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            outcomes = await self._record([waiting.heartbeat for waiting in batch])
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if not waiting.outcome.done():
                    waiting.outcome.set_result(outcome)
        except asyncio.CancelledError:
            for waiting in batch:
                _fail(waiting, _stopping())
            raise
        except AppError as error:
            for waiting in batch:
                _fail(waiting, error)
        except Exception as error:  # noqa: BLE001 - one heartbeat that cannot be written must not cost the others theirs
            await self._write_apart(batch, error)

    async def _write_apart(self, batch: list[_Waiting], error: Exception) -> None:
        if len(batch) == 1:
            # Not the error itself: the driver's text repeats what was to be written.
            log.error("a heartbeat of %s cannot be written: %s", batch[0].heartbeat.instance_id, type(error).__name__)
            _fail(batch[0], error)
            return
        middle = len(batch) // 2
        await self._write(batch[:middle])
        await self._write(batch[middle:])


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.outcome.done():
        waiting.outcome.set_exception(error)


def _stopping() -> ServiceUnavailable:
    return ServiceUnavailable("this process is stopping; try again", retry_after_s=1.0)
