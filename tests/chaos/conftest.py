"""Everything that the selected chaos tests ask for, begun with the first of them, collected by each, and gone with the last.

All of it runs side by side from one process: where files are dealt out to several, these stay together (`tests/durations.py`).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import scoreboard
from tests.chaos.installation import installed
from tests.chaos.matrix import Kill, Matrix
from tests.chaos.scenarios import Scenarios, Variables
from tests.memory import folder_in_memory

HERE = Path(__file__).parent
MATRIX_LANES = {"mock": 2, "local": 2} if scoreboard.FULL else {"mock": 1, "local": 1}
SCENARIO_LANES = 1 if scoreboard.FULL else 2
"""Installations at once, beside one for those that want other variables. Two processor cores bear five, for most of them wait at any
moment; six are slower than five.
"""

STARTS_AT_ONCE = 1 if scoreboard.FULL else 2
"""Half of a start is steps of one processor after the other. All at once, none would be ready in its time on a machine that is busy."""


class Chaos:
    """Tests that begin together, each lane in an installation that knows nothing of the others."""

    def __init__(self, items: Sequence[pytest.Item], folder: Path) -> None:
        own = [item for item in items if item.path.is_relative_to(HERE)]
        self.last = own[-1]
        self.scenarios, self.matrix = Scenarios(own), Matrix(own)
        self._folder, self._starting = folder, asyncio.Semaphore(STARTS_AT_ONCE)
        self._running = asyncio.create_task(self._run())

    async def end(self) -> None:
        """Wait for the end; where tests were left out (the first failure was to be the last), cut it short.

        Raises where something was not to be removed.
        """
        if all(outcome.done() for outcome in self._outcomes):
            await self._running
        else:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        """Until everything asked for has an outcome, if only that it could not be tried."""
        parts = [list[Kill]() for _ in range(min(SCENARIO_LANES, self.scenarios.left()))]
        parts += self.matrix.parts(MATRIX_LANES)
        unusual = list(enumerate(self.scenarios.unusual()))
        try:
            async with asyncio.TaskGroup() as group:
                for number, variables in () if scoreboard.FULL else unusual:
                    group.create_task(self._serve_unusual(number, variables))
                for number, kills in enumerate(parts):
                    group.create_task(self._serve(number, kills))
            if scoreboard.FULL:  # their seconds are judged there: they are alone
                for number, variables in unusual:
                    await self._serve_unusual(number, variables)
        except BaseException as failure:
            self._abandon(failure)
            raise

    async def _serve(self, number: int, kills: Sequence[Kill]) -> None:
        """Whoever has killed enough helps with the scenarios; where none is left the installation goes."""
        async with AsyncExitStack() as stack:
            async with self._starting:
                installation = await stack.enter_async_context(installed(self._folder / f"lane{number}"))
            await self.matrix.serve(installation, kills)
            await self.scenarios.serve(installation)

    async def _serve_unusual(self, number: int, variables: Variables) -> None:
        async with AsyncExitStack() as stack:
            async with self._starting:
                home = self._folder / f"unusual{number}"
                installation = await stack.enter_async_context(installed(home, **dict(variables)))
            await self.scenarios.serve(installation, variables)

    @property
    def _outcomes(self) -> list[asyncio.Future[Any]]:
        return [*self.scenarios.outcomes.values(), *self.matrix.outcomes.values()]

    def _abandon(self, failure: BaseException) -> None:
        for outcome in self._outcomes:
            if not outcome.done():
                outcome.set_exception(failure)
            outcome.exception()  # asked for by nobody, perhaps, and then no cause for a warning


@pytest.fixture(scope="session")
async def begun(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chaos]:
    with folder_in_memory("chaos", tmp_path_factory.mktemp("chaos")) as folder:
        chaos = Chaos(request.session.items, folder)
        yield chaos
        await chaos.end()


@pytest.fixture
async def chaos(begun: Chaos, request: pytest.FixtureRequest) -> AsyncIterator[Chaos]:
    """Ends with the last test that may ask for it: what the process runs afterwards has the machine."""
    yield begun
    if request.node is begun.last:
        await begun.end()


@pytest.fixture
def scenarios(chaos: Chaos) -> Scenarios:
    return chaos.scenarios


@pytest.fixture
def matrix(chaos: Chaos) -> Matrix:
    return chaos.matrix


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = list(scoreboard.lines())
    if figures:
        terminalreporter.section("chaos")
        for line in figures:
            terminalreporter.write_line(line)
