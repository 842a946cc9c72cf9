"""The matrix of kills: a worker killed at every crash point with instances under way, and what the next worker makes of it.

A *lane* is one installation in which the kills follow one another. Its worker is armed for the next kill while it still
recovers from the last one: the file of `QUARTERDECK_CRASH_ONCE` is there, which disarms it, until the kill is due. So each kill
costs one start of a worker, and lanes wait for time-outs side by side.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from activities.runtime.crash import CRASH_AT, CRASH_ONCE
from tests.chaos import scoreboard
from tests.chaos.installation import Installation
from tests.chaos.ledger import verify
from tests.chaos.points import Work

RECOVERED_WITHIN_S = 15.0
"""From the worker's return until the last instance is in its right state (the promise)."""

LOOKED_AT_FOR_S = 40.0
"""A recovery that takes longer than promised is still measured, up to this."""

DIES_WITHIN_S = 25.0
RIGHT_STATE = {Work.PROVISION: "ready", Work.REINSTALL: "ready", Work.TERMINATE: "terminated"}
INSTANCES_PER_KILL = {"mock": 8, "local": 2} if scoreboard.FULL else {"mock": 3, "local": 1}
POOL = {provider: 2 * count for provider, count in INSTANCES_PER_KILL.items()}
"""Most ready instances that a lane keeps for the kills to come."""


@dataclass(frozen=True)
class Kill:
    """One case of the matrix."""

    provider: str
    point: str
    work: Work
    nth: int = 1
    """At which pass of the point: the transactions of an owner differ from one pass to the next."""
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.provider}-{self.work}-{self.selection}" + (f"-seed{self.seed}" if self.seed else "")

    @property
    def selection(self) -> str:
        return self.point if self.nth == 1 else f"{self.point}@{self.nth}"


@dataclass
class Outcome:
    """`failure` is what was wrong, None for a recovery as promised. `recovery_s` None: it never got that far."""

    kill: Kill
    instances: int = 0
    recovery_s: float | None = None
    failure: BaseException | None = field(default=None, repr=False)


class Lane:
    """The kills of one provider in one installation, one after the other."""

    def __init__(self, installation: Installation, kills: Sequence[Kill]) -> None:
        self.installation, self.kills = installation, kills
        self._markers = [installation.folder / f"{number}.once" for number in range(len(kills))]
        self._pool: list[UUID] = []
        self._seen: list[UUID] = []
        """Every instance that came through a kill in order."""

    async def run(self, tell: Callable[[Outcome], None]) -> None:
        """Every kill, whatever became of the one before. All instances are terminated at the end, as part of the last."""
        await self.installation.worker.kill()
        await self._start_worker(0)
        for number, kill in enumerate(self.kills):
            outcome = Outcome(kill)
            with _into(outcome):
                await self._one(number, outcome)
            await self._worker_lives(number + 1)
            if kill is self.kills[-1]:
                with _into(outcome):
                    await self._end_all()
            tell(outcome)

    async def _one(self, number: int, outcome: Outcome) -> None:
        kill = outcome.kill
        subjects = await self._subjects(kill, INSTANCES_PER_KILL[kill.provider])
        self._markers[number].unlink()
        subjects = await self._begin(kill, subjects)
        assert await self.installation.worker.killed_itself(DIES_WITHIN_S), "the worker was not killed at its point"
        assert self._markers[number].exists(), "the worker died elsewhere than at its point"
        outcome.instances = len(subjects)
        await self._start_worker(number + 1)
        right = RIGHT_STATE[kill.work]
        generation = 2 if kill.work is Work.REINSTALL else 1
        await self.installation.until(
            subjects,
            lambda row: row["status"] == right and (row["generation"] >= generation),
            LOOKED_AT_FOR_S,
        )
        outcome.recovery_s = scoreboard.seconds_since(self.installation.worker.started_at)
        await verify(self.installation, subjects)
        self._seen += subjects
        if kill.work is Work.PROVISION:
            await self._keep(subjects)
        elif kill.work is Work.REINSTALL:
            rows = await self.installation.instances(subjects)
            generations = [row["generation"] for row in rows.values()]
            assert all(one == 2 for one in generations), f"a reinstall took effect {generations} - 1 times"
        scoreboard.judge("the recovery", outcome.recovery_s, RECOVERED_WITHIN_S)

    async def _subjects(self, kill: Kill, count: int) -> list[UUID]:
        """Ready instances for a kill that needs them; a reinstall wants instances that never had one."""
        if kill.work is Work.PROVISION:
            return []
        if len(self._pool) < count:
            self._pool += await self.installation.ready(kill.provider, count - len(self._pool))
        subjects, self._pool = self._pool[:count], self._pool[count:]
        return subjects

    async def _begin(self, kill: Kill, subjects: list[UUID]) -> list[UUID]:
        match kill.work:
            case Work.PROVISION:
                return await self.installation.deploy(kill.provider, INSTANCES_PER_KILL[kill.provider])
            case Work.REINSTALL:
                await self.installation.reinstall(*subjects)
            case Work.TERMINATE:
                await self.installation.terminate(*subjects)
        return subjects

    async def _keep(self, ready: list[UUID]) -> None:
        self._pool += ready
        surplus, self._pool = self._pool[POOL[self.kills[0].provider] :], self._pool[: POOL[self.kills[0].provider]]
        if surplus:
            await self.installation.terminate(*surplus)

    async def _worker_lives(self, number: int) -> None:
        """Also after a case that failed halfway: the next one begins with a worker that is armed for it."""
        if not self.installation.worker.runs():
            await self._start_worker(number)
        elif number < len(self._markers) and not self._markers[number].exists():
            await self.installation.worker.kill()
            await self._start_worker(number)

    async def _start_worker(self, number: int) -> None:
        if number == len(self.kills):
            await self.installation.worker.start()
            return
        self._markers[number].touch()
        selection = {CRASH_AT: self.kills[number].selection, CRASH_ONCE: str(self._markers[number])}
        await self.installation.worker.start(**selection)

    async def _end_all(self) -> None:
        """Once more over all of them: what one kill left in order, a later one must not have broken."""
        everything = list(dict.fromkeys([*self._seen, *self._pool]))
        if everything:
            await self.installation.terminate(*everything)
            await self.installation.until_status(everything, "terminated", 40.0)
            await verify(self.installation, everything)


@contextmanager
def _into(outcome: Outcome) -> Iterator[None]:
    try:
        yield
    except Exception as failure:  # noqa: BLE001 - kept, and raised by the test of this very kill
        outcome.failure = outcome.failure or failure


class Matrix:
    """The kills that a session's tests ask for, and what became of each."""

    def __init__(self, items: Sequence[pytest.Item]) -> None:
        loop = asyncio.get_running_loop()
        asked = [item.callspec.params.get("kill") for item in items if hasattr(item, "callspec")]
        self.outcomes: dict[Kill, asyncio.Future[Outcome]] = {
            kill: loop.create_future() for kill in asked if isinstance(kill, Kill)
        }

    def parts(self, lanes: Mapping[str, int]) -> list[list[Kill]]:
        """The kills of each provider spread over so many lanes."""
        own = {provider: [kill for kill in self.outcomes if kill.provider == provider] for provider in lanes}
        return [
            part
            for provider, share in lanes.items()
            for number in range(share)
            if (part := own[provider][number::share])
        ]

    async def serve(self, installation: Installation, kills: Sequence[Kill]) -> None:
        if kills:
            await Lane(installation, kills).run(lambda outcome: self.outcomes[outcome.kill].set_result(outcome))
