"""Parts of families that run while rows say so: asked about every few seconds, started and ended beside the others."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psycopg

from workers.embedded.errors import StartError
from workers.embedded.supervisor import Part, SupervisedPart

ASK_EVERY_S = 3.0
ASK_TIMEOUT_S = 10.0
"""For an answer, the connection included."""

TRY_AGAIN_AFTER_S = 60.0
"""After a part could not be started, for as long as rows want it."""

APPLICATION = "quarterdeck-up"


@dataclass
class RowPart:
    """A part, and whether it is wanted: what was answered last, at first no."""

    question: str
    build: Callable[[], Part]
    is_wanted: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, *, is_wanted: bool) -> None:
        if is_wanted is not self.is_wanted:
            self.is_wanted = is_wanted
            self._changed.set()

    async def until(self, *, is_wanted: bool) -> None:
        while self.is_wanted is not is_wanted:
            self._changed.clear()
            await self._changed.wait()


class RowParts:
    """`running` are the parts of `up` by name: one of these is among them while it is wanted, whether it is ready or not.

    `url` is asked for before each connection; `note` is called after each change, `complain` gets one line at a time.
    """

    def __init__(
        self,
        parts: Sequence[RowPart],
        running: dict[str, SupervisedPart],
        *,
        url: Callable[[], str],
        note: Callable[[], None],
        complain: Callable[[str], None],
    ) -> None:
        self._parts, self._running = parts, running
        self._url, self._note, self._complain = url, note, complain
        self._connection: psycopg.AsyncConnection[tuple[object, ...]] | None = None

    async def run(self) -> None:
        """Never returns. Cancelled, it leaves what runs to whoever stops all parts."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ask_again_and_again())
                for part in self._parts:
                    group.create_task(self._follow(part))
        finally:
            await self._disconnect()

    async def _ask_again_and_again(self) -> None:
        """Without an answer all stays as it is: what runs does not end because PostgreSQL is away."""
        told: set[str] = set()
        while True:
            reasons = {reason for part in self._parts if (reason := await self._ask(part)) is not None}
            for reason in sorted(reasons - told):
                self._complain(f"rows do not say which parts are wanted, and what runs stays: {reason}")
            told = reasons
            await asyncio.sleep(ASK_EVERY_S)

    async def _ask(self, part: RowPart) -> str | None:
        """Why there is no answer; None where there is one."""
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                connection = self._connection = self._connection or await self._connect()
                row = await (await connection.execute(part.question.encode())).fetchone()
        except (psycopg.Error, TimeoutError) as error:
            await self._disconnect()
            return str(error).strip().partition("\n")[0] or type(error).__name__
        part.answer(is_wanted=row is not None and bool(row[0]))
        return None

    async def _connect(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        connection = await psycopg.AsyncConnection.connect(
            self._url(), autocommit=True, application_name=APPLICATION, prepare_threshold=None
        )  # what is prepared is refused in other words: one cause is said once
        await connection.execute(f"SET statement_timeout = '{ASK_TIMEOUT_S:g}s'".encode())
        return connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _follow(self, part: RowPart) -> None:
        while True:
            await part.until(is_wanted=True)
            built = part.build()
            keeping = asyncio.create_task(self._keep(built), name=f"start-{built.name}")
            try:
                await part.until(is_wanted=False)
            finally:
                keeping.cancel()
                await asyncio.wait({keeping})
            if (supervised := self._running.get(built.name)) is not None:
                await supervised.stop()
                del self._running[built.name]
                self._note()

    async def _keep(self, part: Part) -> None:
        """Returns when it is ready for the first time: from then on it is kept running like any other. Before, a reason for which
        it cannot start is said once, and it is tried again.
        """
        told: str | None = None
        while True:
            supervised = self._running[part.name] = SupervisedPart(part, self._note)
            try:
                return await supervised.start()
            except StartError as error:
                await supervised.stop()
                if str(error) != told:
                    self._complain(str(error))
                told = str(error)
            await asyncio.sleep(TRY_AGAIN_AFTER_S)
