"""Everything that the selected chaos tests ask for, begun with the first of them and collected by each.

In one process all of it runs side by side. Where files are dealt out to several processes (`-n 2 --dist loadfile`) nobody knows
which will come here, so each file's tests begin with the first of that file, in the installations that are there already.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import scoreboard
from tests.chaos.installation import Installation, installed
from tests.chaos.matrix import Kill, Matrix
from tests.chaos.scenarios import Scenarios

MATRIX_LANES = {"mock": 2, "local": 2}
SCENARIO_LANES = 1
"""Installations at once. Two processor cores bear five, for most of them wait at any moment; six are slower than five."""


class Lanes:
    """Installations that do not know of one another, each started when it is first taken, and kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lanes: dict[int, asyncio.Task[Installation]] = {}
        self._stacks: list[AsyncExitStack] = []

    async def take(self, number: int) -> Installation:
        if number not in self._lanes:
            self._lanes[number] = asyncio.create_task(self._start(number))
        return await asyncio.shield(self._lanes[number])

    async def _start(self, number: int) -> Installation:
        stack = AsyncExitStack()
        self._stacks.append(stack)
        return await stack.enter_async_context(installed(self._folder / f"lane{number}"))

    async def close(self) -> None:
        await asyncio.gather(*self._lanes.values(), return_exceptions=True)
        await asyncio.gather(*(stack.aclose() for stack in self._stacks))


class Batch:
    """Tests that begin together."""

    def __init__(self, items: Sequence[pytest.Item], lanes: Lanes) -> None:
        self.scenarios, self.matrix = Scenarios(items), Matrix(items)
        self._lanes = lanes
        self._running = asyncio.create_task(self._run())

    async def end(self) -> None:
        """Wait for the end; where tests were left out (the first failure was to be the last), cut it short."""
        if not all(outcome.done() for outcome in self._outcomes):
            self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        """Until everything asked for has an outcome, if only that it could not be tried."""
        parts = [list[Kill]() for _ in range(min(SCENARIO_LANES, len(self.scenarios.outcomes)))]
        parts += self.matrix.parts(MATRIX_LANES)
        try:
            async with asyncio.TaskGroup() as group:
                for number, kills in enumerate(parts):
                    group.create_task(self._serve(number, kills))
        except BaseException as failure:
            self._abandon(failure)
            raise

    async def _serve(self, number: int, kills: Sequence[Kill]) -> None:
        """Whoever has killed enough helps with the scenarios."""
        installation = await self._lanes.take(number)
        await self.matrix.serve(installation, kills)
        await self.scenarios.serve(installation)

    @property
    def _outcomes(self) -> list[asyncio.Future[Any]]:
        return [*self.scenarios.outcomes.values(), *self.matrix.outcomes.values()]

    def _abandon(self, failure: BaseException) -> None:
        for outcome in self._outcomes:
            if not outcome.done():
                outcome.set_exception(failure)
            outcome.exception()  # asked for by nobody, perhaps, and then no cause for a warning


class Chaos:
    def __init__(self, items: Sequence[pytest.Item], folder: Path) -> None:
        self._items, self._lanes = items, Lanes(folder)
        self._batches: dict[Hashable, Batch] = {}

    def batch_of(self, item: pytest.Item) -> Batch:
        """The batch that the test belongs to, begun if it has not."""
        is_dealt_out = "PYTEST_XDIST_WORKER" in os.environ
        key = item.path if is_dealt_out else None
        if key not in self._batches:
            together = [one for one in self._items if one.path == item.path] if is_dealt_out else self._items
            self._batches[key] = Batch(together, self._lanes)
        return self._batches[key]

    async def close(self) -> None:
        for batch in self._batches.values():
            await batch.end()
        await self._lanes.close()


@pytest.fixture(scope="session")
async def chaos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chaos]:
    begun = Chaos(request.session.items, tmp_path_factory.mktemp("chaos"))
    yield begun
    await begun.close()


@pytest.fixture
async def scenarios(chaos: Chaos, request: pytest.FixtureRequest) -> Scenarios:
    return chaos.batch_of(request.node).scenarios


@pytest.fixture
async def matrix(chaos: Chaos, request: pytest.FixtureRequest) -> Matrix:
    return chaos.batch_of(request.node).matrix


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = list(scoreboard.lines())
    if figures:
        terminalreporter.section("chaos")
        for line in figures:
            terminalreporter.write_line(line)
