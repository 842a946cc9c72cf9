"""Who signed in lately, from memory: a flood of questions is one question to the database."""

from __future__ import annotations

import asyncio

import pytest

from api.security.recent_sign_ins import KEPT_S, RETRY_S, RecentSignIns
from models.base.errors import ServiceUnavailable
from models.base.ids import new_id
from models.repositories.identity.recent_sign_ins import RecentSignIn

HOME, OFFICE = "192.0.2.0/24", "2001:db8:1:200::/56"
ADA = RecentSignIn(new_id(), "ada@example.org", "ada", HOME)


class World:
    """A database that is asked, and a clock."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.asked = 0
        self.found = [ADA]
        self.is_away = False
        self.recent = RecentSignIns(self.load, lambda: self.now_s)

    async def load(self) -> list[RecentSignIn]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise ServiceUnavailable("away")
        return list(self.found)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_person_is_known_by_address_and_username_and_from_that_network_alone(world: World) -> None:
    assert await world.recent.user_of("ada@example.org", HOME) == ADA.user_id
    assert await world.recent.user_of("ada", HOME) == ADA.user_id
    assert await world.recent.user_of("ada", OFFICE) is None
    assert await world.recent.user_of("bob", HOME) is None


async def test_an_address_wins_over_a_username_that_looks_like_it(world: World) -> None:
    for order in (1, -1):
        world.found = [ADA, RecentSignIn(new_id(), "eve@example.org", ADA.email, HOME)][::order]
        world.now_s += KEPT_S
        assert await world.recent.user_of(ADA.email, HOME) == ADA.user_id


async def test_a_flood_asks_the_database_once_in_half_a_minute(world: World) -> None:
    assert world.asked == 0
    await asyncio.gather(*(world.recent.user_of(f"user{number}", HOME) for number in range(500)))
    assert world.asked == 1
    world.found = []
    world.now_s += KEPT_S - 0.001
    assert await world.recent.user_of("ada", HOME) == ADA.user_id
    world.now_s += 0.001
    assert await world.recent.user_of("ada", HOME) is None
    assert world.asked == 2


async def test_a_database_that_is_away_is_not_asked_by_everybody_who_waits_and_what_was_known_stays(
    world: World,
) -> None:
    assert await world.recent.user_of("ada", HOME) == ADA.user_id
    world.is_away = True
    world.now_s += KEPT_S
    answers = await asyncio.gather(*(world.recent.user_of("ada", HOME) for _ in range(100)), return_exceptions=True)
    assert world.asked == 2
    assert isinstance(answers[0], ServiceUnavailable)
    assert answers[1:] == [ADA.user_id] * 99
    world.is_away = False
    world.found = []
    world.now_s += RETRY_S
    assert await world.recent.user_of("ada", HOME) is None
