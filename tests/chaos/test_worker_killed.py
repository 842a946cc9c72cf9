"""A worker killed with SIGKILL at every crash point of provision, reinstall and terminate, on both providers.

By the ledger of the outside there is exactly one machine per live instance and none for a terminated one, and every instance
is in its right state within 15 s of the worker's return. `make test` kills at every point with every kind of work on one of the
providers; `make chaos` on all of them, over many seeds.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import product

import pytest

from tests.chaos import scoreboard
from tests.chaos.matrix import INSTANCES_PER_KILL, Kill, Matrix
from tests.chaos.points import PASSED_DURING, PASSES_PER_INSTANCE, Work, cases, worker_points
from tests.chaos.scenarios import MARKS

LATER_PASSES = {"mock": (5,), "local": (3,)}
"""With the first seed: besides the first transaction of an owner one in the middle of its work."""


def passes(provider: str, point: str, work: Work, seed: int) -> Iterator[int]:
    """At which pass of the point to kill: the first, and later ones where there are more. Another seed takes others."""
    most = PASSES_PER_INSTANCE.get((point.partition(":")[0], work), 1) * INSTANCES_PER_KILL[provider]
    if seed:
        yield random.Random(f"{provider} {point} {work} {seed}").randint(1, most)
        return
    yield 1
    if most > INSTANCES_PER_KILL[provider] and point.endswith(":after_call"):
        yield from (nth for nth in LATER_PASSES[provider] if nth <= most)


def sample(kills: Sequence[Kill]) -> list[Kill]:
    """Of each point with each kind of work one kill, and one at a later pass where there is any: on the provider that the dice say,
    always the same one.
    """
    dice = random.Random("provider")
    groups: dict[tuple[str, Work, bool], list[Kill]] = {}
    for kill in kills:
        groups.setdefault((kill.point, kill.work, kill.nth > 1), []).append(kill)
    return [dice.choice(group) for group in groups.values()]


EVERY_KILL = [
    Kill(provider, point, work, nth, seed)
    for seed in scoreboard.seeds()
    for provider in ("mock", "local")
    for point, work in cases()
    for nth in passes(provider, point, work, seed)
]
KILLS = EVERY_KILL if scoreboard.FULL else sample(EVERY_KILL)
pytestmark = [*MARKS]


def test_every_crash_point_has_its_place() -> None:
    """An activity whose points nobody passes would be a hole in the matrix."""
    assert {point.partition(":")[0] for point in worker_points()} == PASSED_DURING.keys()


def test_the_sample_leaves_out_no_point_no_kind_of_work_and_no_provider() -> None:
    assert {(kill.point, kill.work) for kill in sample(EVERY_KILL)} == set(cases())
    assert {(kill.provider, kill.work) for kill in sample(EVERY_KILL)} == set(product(("mock", "local"), Work))


@pytest.mark.parametrize("kill", KILLS, ids=[kill.name for kill in KILLS])
async def test_a_kill_there_loses_nothing_and_doubles_nothing(kill: Kill, matrix: Matrix) -> None:
    outcome = await matrix.outcomes[kill]
    if outcome.failure is not None:
        raise outcome.failure
    assert outcome.recovery_s is not None
    scoreboard.recovered(kill.name, outcome.instances, outcome.recovery_s)
