"""A worker killed with SIGKILL at every crash point of provision, reinstall and terminate, on both providers.

By the ledger of the outside there is exactly one machine per live instance and none for a terminated one, and every instance
is in its right state within 15 s of the worker's return. `make chaos` runs the matrix over many seeds.
"""

import pytest

from tests.chaos import scoreboard
from tests.chaos.matrix import Kill, Matrix
from tests.chaos.points import PASSED_DURING, cases, worker_points
from tests.chaos.scenarios import MARKS

KILLS = [
    Kill(provider, point, work, seed)
    for seed in scoreboard.seeds()
    for provider in ("mock", "local")
    for point, work in cases(with_every_work=scoreboard.FULL or provider == "mock")
]
pytestmark = [*MARKS]


def test_every_crash_point_has_its_place() -> None:
    """An activity whose points nobody passes would be a hole in the matrix."""
    assert {point.partition(":")[0] for point in worker_points()} == PASSED_DURING.keys()


@pytest.mark.parametrize("kill", KILLS, ids=[kill.name for kill in KILLS])
async def test_a_kill_there_loses_nothing_and_doubles_nothing(kill: Kill, matrix: Matrix) -> None:
    outcome = await matrix.outcomes[kill]
    if outcome.failure is not None:
        raise outcome.failure
    assert outcome.recovery_s is not None
    scoreboard.recovered(kill.name, outcome.instances, outcome.recovery_s)
