"""Tests that run side by side, each in an installation of its own: they spend their time waiting for time-outs, not computing.

A test with `@scenario` is written like any other, with `installation` as its first argument. All that a session selects begin
with the first of them, over as many installations as `Scenarios` has; pytest then collects what became of each. Those of
`scenario_with` share an installation that has other variables than the usual ones.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import pytest

from tests.chaos import scoreboard
from tests.chaos.installation import Installation

SCENARIO_TIMEOUT_S: Final = 300.0 if scoreboard.FULL else 900.0

MARKS: Final = (pytest.mark.chaos, pytest.mark.timeout(1800 if not scoreboard.FULL else 3600 * scoreboard.ROUNDS))
"""Of every chaos test. The time-out is that of the whole: the first test waits for what began with it."""

Scenario = Callable[..., Awaitable[None]]


Variables = tuple[tuple[str, str], ...]
"""Of an installation, beside those that all have."""

USUAL: Final[Variables] = ()


def scenario(function: Scenario) -> Callable[..., Awaitable[None]]:
    """The test that awaits the outcome of `function(installation, **parameters)`."""
    return _collecting(function, USUAL)


def scenario_with(**variables: str) -> Callable[[Scenario], Callable[..., Awaitable[None]]]:
    """A scenario whose installation has these variables. All that want the same ones follow one another in one installation."""
    wanted = tuple(sorted(variables.items()))
    return lambda function: _collecting(function, wanted)


def _collecting(function: Scenario, variables: Variables) -> Callable[..., Awaitable[None]]:
    async def test(scenarios: Scenarios, request: pytest.FixtureRequest, **_parameters: object) -> None:
        await scenarios.outcome(request.node.nodeid)

    own = [one for one in inspect.signature(function).parameters.values() if one.name != "installation"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    asked = [inspect.Parameter(name, keyword) for name in ("scenarios", "request")]
    test.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [*(one.replace(kind=keyword) for one in own), *asked]
    )
    test.__name__, test.__doc__, test.__module__ = function.__name__, function.__doc__, function.__module__
    test.scenario = function, variables  # type: ignore[attr-defined]
    return test


class Scenarios:
    """The scenarios of this session's tests, those that want the same variables in one queue."""

    def __init__(self, items: Sequence[pytest.Item]) -> None:
        self._queues: dict[Variables, asyncio.Queue[tuple[str, Scenario, Mapping[str, Any]]]] = {USUAL: asyncio.Queue()}
        self.outcomes: dict[str, asyncio.Future[float]] = {}
        for item in items:
            function, variables = getattr(getattr(item, "obj", None), "scenario", (None, USUAL))
            if function is not None:
                parameters = item.callspec.params if hasattr(item, "callspec") else {}
                self._queues.setdefault(variables, asyncio.Queue()).put_nowait((item.nodeid, function, parameters))
                self.outcomes[item.nodeid] = asyncio.get_running_loop().create_future()

    async def outcome(self, node_id: str) -> float:
        """The seconds that it took. Raises what the scenario raised."""
        return await self.outcomes[node_id]

    def left(self, variables: Variables = USUAL) -> int:
        """How many nobody has begun."""
        return self._queues[variables].qsize()

    def unusual(self) -> list[Variables]:
        """What those want that `scenario_with` made."""
        return [variables for variables in self._queues if variables != USUAL]

    async def serve(self, installation: Installation, variables: Variables = USUAL) -> None:
        """Run the scenarios that want these variables in this installation, which has them, until none is left."""
        while self.left(variables):
            node_id, function, parameters = self._queues[variables].get_nowait()
            began = time.monotonic()
            try:
                await installation.restore()
                async with asyncio.timeout(SCENARIO_TIMEOUT_S):
                    await function(installation, **parameters)
                    assert await installation.left() == [], (
                        "a scenario ends what it makes: the next one counts machines"
                    )
            except (Exception, pytest.skip.Exception) as failure:  # noqa: BLE001 - raised by the test that asks for the outcome
                self.outcomes[node_id].set_exception(failure)
            else:
                self.outcomes[node_id].set_result(scoreboard.seconds_since(began))
