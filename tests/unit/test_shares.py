"""Places that families and organizations share: nobody has all, nobody waits for a place that is there, none is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.repositories.shares import Shares, Whose
from tests.patience import GIVE_UP_S

FAMILIES = ("fleet", "money", "flows", None)
ORGANIZATIONS = (UUID(int=1), UUID(int=2), None)
SIZE, SPARED = 10, 2


class Full(Exception):
    """There is no place."""


class Uses:
    """Each goes on until it is ended."""

    def __init__(self, size: int = SIZE, spared: int = SPARED, wait_s: float = GIVE_UP_S) -> None:
        self.shares = Shares(size, wait_s, Full, spared=spared)
        self.having: Counter[Whose] = Counter()
        self._uses: list[tuple[Whose, asyncio.Event, asyncio.Task[None]]] = []

    async def begin(self, *whose: Whose) -> None:
        for each in whose:
            end = asyncio.Event()
            self._uses.append((each, end, asyncio.create_task(self._use(each, end))))
        await settled()

    async def _use(self, whose: Whose, end: asyncio.Event) -> None:
        async with self.shares.one(whose):
            self.having[whose] += 1
            try:
                await end.wait()
            finally:
                self.having[whose] -= 1

    async def end(self, number: int) -> None:
        self._uses[number % len(self._uses)][1].set()
        await settled()

    async def cancel(self, number: int) -> None:
        self._uses[number % len(self._uses)][2].cancel()
        await settled()

    async def end_all(self) -> None:
        for _, end, _task in self._uses:
            end.set()
        await asyncio.gather(*(task for _, _end, task in self._uses), return_exceptions=True)

    def of_family(self, family: str | None) -> int:
        return sum(count for whose, count in self.having.items() if whose.family == family)

    def of_organization(self, organization_id: UUID | None) -> int:
        return sum(count for whose, count in self.having.items() if whose.organization_id == organization_id)

    @property
    def waiting(self) -> set[Whose]:
        begun = Counter(whose for whose, _, task in self._uses if not task.done())
        return {whose for whose, count in begun.items() if count > self.having[whose]}


async def settled() -> None:
    """Every task has gone as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


def many(count: int, family: str | None, organization: int | None = None) -> list[Whose]:
    return [Whose(family, None if organization is None else UUID(int=organization))] * count


async def test_a_family_that_hangs_leaves_places_to_others_and_two_that_hang_do() -> None:
    uses = Uses()
    await uses.begin(*many(30, "fleet"))
    assert uses.of_family("fleet") == 8
    await uses.begin(*many(30, "money"))
    assert uses.of_family("money") == 1
    await uses.begin(*many(30, "flows"))
    assert uses.of_family("flows") == 1
    await uses.end_all()


@pytest.mark.parametrize(("size", "most"), [(1, 1), (2, 1), (3, 2), (5, 4), (10, 8), (20, 16)])
async def test_the_share_of_one_that_is_alone_follows_the_size(size: int, most: int) -> None:
    uses = Uses(size, spared=0)
    await uses.begin(*many(2 * size, "fleet"))
    assert uses.of_family("fleet") == most
    await uses.end_all()


async def test_what_hangs_for_one_organization_leaves_places_of_its_family_to_others() -> None:
    uses = Uses()
    await uses.begin(*many(30, "fleet", 1))
    assert uses.of_family("fleet") == 6
    await uses.begin(*many(30, "fleet", 2))
    assert (uses.of_family("fleet"), uses.of_organization(UUID(int=2))) == (8, 2)
    await uses.begin(*many(1, "money", 1))
    assert uses.of_family("money") == 1
    await uses.end_all()


async def test_an_organization_has_never_all_places_whatever_families_it_uses() -> None:
    uses = Uses()
    for family in ("fleet", "money", "flows", "mail", "stacks"):
        await uses.begin(*many(30, family, 1))
    assert uses.of_organization(UUID(int=1)) == 8
    await uses.begin(*many(2, "memory", 2))
    assert uses.of_family("memory") >= 1
    await uses.end_all()


async def test_what_is_of_no_family_is_bounded_by_none() -> None:
    uses = Uses(spared=0)
    await uses.begin(*many(12, None))
    assert uses.of_family(None) == 12, "the pool itself says how many there are"
    await uses.end_all()


async def test_who_waits_too_long_is_refused_and_takes_nothing_along() -> None:
    uses = Uses(2, spared=0, wait_s=0.01)
    await uses.begin(*many(1, "fleet"))
    with pytest.raises(Full):
        async with uses.shares.one(Whose("fleet")):
            pass
    assert uses.shares.users == 1
    await uses.end_all()
    assert uses.shares.users == 0


async def test_what_fails_inside_is_no_refusal_and_gives_its_place_back() -> None:
    shares = Shares(1, GIVE_UP_S, Full)
    for error in (TimeoutError, ValueError, asyncio.CancelledError):
        with pytest.raises(error):
            async with shares.one(Whose("fleet")):
                raise error
    assert shares.users == 0


async def test_a_place_that_is_given_to_one_who_is_cancelled_is_given_on() -> None:
    shares, reached = Shares(1, GIVE_UP_S, Full), asyncio.Event()

    async def use() -> None:
        async with shares.one(Whose("fleet")):
            reached.set()

    async with shares.one(Whose("fleet")):
        first, second = asyncio.create_task(use()), asyncio.create_task(use())
        await settled()
    first.cancel()  # it has the place, and has not run yet
    async with asyncio.timeout(GIVE_UP_S):
        await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert shares.users == 0


async def test_those_of_a_family_have_their_turns_as_they_came() -> None:
    shares, order = Shares(1, GIVE_UP_S, Full), list[int]()

    async def use(number: int) -> None:
        async with shares.one(Whose("fleet")):
            order.append(number)

    async with shares.one(Whose("money")), asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(use(number))
    assert all(before < after for before, after in pairwise(order))


Step = tuple[str, Whose, int]
WHOSE = st.builds(Whose, st.sampled_from(FAMILIES), st.sampled_from(ORGANIZATIONS))
STEPS = st.lists(
    st.tuples(st.sampled_from(["begin", "begin", "end", "cancel"]), WHOSE, st.integers(0, 100)), max_size=60
)


@given(STEPS)
async def test_nobody_waits_for_a_place_that_is_there_and_none_is_lost(steps: list[Step]) -> None:
    uses = Uses()
    begun = 0
    for verb, whose, number in steps:
        if verb == "begin":
            held = uses.of_family(whose.family)
            await uses.begin(whose)
            begun += 1
            if whose.family is not None:
                assert uses.of_family(whose.family) <= max(held, 8)
        elif begun:
            await (uses.end(number) if verb == "end" else uses.cancel(number))
        for waiting in uses.waiting:
            assert is_full(uses, waiting), waiting
    assert uses.shares.users == sum(uses.having.values()) + len(uses.shares._waiting)
    await uses.end_all()
    assert uses.shares.users == 0


def is_full(uses: Uses, whose: Whose) -> bool:
    """What the rule says, from what is used."""
    others = sum(uses.having.values()) - uses.of_family(whose.family)
    most = SIZE if whose.family is None else max(1, (SIZE - others) * 4 // 5)
    bounds = [whose.family is not None and uses.of_family(whose.family) >= most]
    if whose.organization_id is not None:
        bounds.append(uses.of_organization(whose.organization_id) >= SIZE - SPARED)
        bounds.append(uses.having[whose] >= max(1, most - SPARED))
    return any(bounds)
