"""The zones of an order, and the one in which it stands."""

import pytest

from models.domain.fleet.placement.zones import Zones

THREE = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("offered", "at", "tried", "left"),
    [
        (THREE, "a", [], ["b", "c"]),
        (THREE, "b", ["a"], ["c"]),
        (THREE, "c", ["a", "b"], []),
        (THREE, "elsewhere", [], []),
        (THREE, None, [], []),
        ([], "a", [], []),
    ],
)
def test_those_before_are_tried_and_those_after_are_left(
    offered: list[str], at: str | None, tried: list[str], left: list[str]
) -> None:
    zones = Zones(offered, at)
    assert (zones.tried, zones.left) == (tried, left)


def test_it_goes_on_from_where_it_stands_and_from_nowhere_else() -> None:
    assert Zones(THREE, "a").after("a") == "b"
    assert Zones(THREE, "b").after("a") is None, "it went on already"
    assert Zones(THREE, "c").after("c") is None
    assert Zones([], "a").after("a") is None
