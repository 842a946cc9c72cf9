"""Everything that the selected chaos tests ask for, begun with the first of them and collected by each."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import scoreboard
from tests.chaos.installation import installed
from tests.chaos.matrix import Kill, Matrix
from tests.chaos.scenarios import Scenarios

MATRIX_LANES, SCENARIO_LANES = 4, 2
"""Installations at once. Two processor cores bear them, for most of them wait at any moment."""


class Chaos:
    def __init__(self, items: list[pytest.Item], folder: Path) -> None:
        self.scenarios, self.matrix = Scenarios(items), Matrix(items)
        self._folder = folder

    async def run(self) -> None:
        """Until everything asked for has an outcome, if only that it could not be tried."""
        parts = [list[Kill]() for _ in range(min(SCENARIO_LANES, len(self.scenarios.outcomes)))]
        parts += self.matrix.parts(MATRIX_LANES)
        try:
            async with asyncio.TaskGroup() as lanes:
                for number, kills in enumerate(parts):
                    lanes.create_task(self._serve(self._folder / f"lane{number}", kills))
        except BaseException as failure:
            self._abandon(failure)
            raise

    async def _serve(self, folder: Path, kills: list[Kill]) -> None:
        """Whoever has killed enough helps with the scenarios."""
        async with installed(folder) as installation:
            await self.matrix.serve(installation, kills)
            await self.scenarios.serve(installation)

    @property
    def outcomes(self) -> list[asyncio.Future[Any]]:
        return [*self.scenarios.outcomes.values(), *self.matrix.outcomes.values()]

    def _abandon(self, failure: BaseException) -> None:
        for outcome in self.outcomes:
            if not outcome.done():
                outcome.set_exception(failure)
            outcome.exception()  # asked for by nobody, perhaps, and then no cause for a warning


@pytest.fixture(scope="session")
async def chaos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chaos]:
    begun = Chaos(request.session.items, tmp_path_factory.mktemp("chaos"))
    running = asyncio.create_task(begun.run())
    yield begun
    if not all(outcome.done() for outcome in begun.outcomes):  # a test failed, and pytest was told to stop there
        running.cancel()
    await asyncio.gather(running, return_exceptions=True)


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
