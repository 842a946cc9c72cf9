"""How long an instance is passed over that could not be reached, and what ends that."""

from uuid import UUID

from api.inference.penalties import Penalties
from tests.inference.test_routing import route

ONE, TWO = route(1), route(2)
ID = ONE.instance_id


def test_a_penalty_doubles_with_each_failure_up_to_half_a_minute() -> None:
    penalties, now_s = Penalties(), 100.0
    assert not penalties
    for length_s in (2, 4, 8, 16, 30, 30):
        penalties.failed(ID, began_s=now_s, now_s=now_s)
        assert penalties.sound([ONE, TWO], now_s + length_s - 0.01) == [TWO]
        now_s += length_s
        assert penalties.sound([ONE, TWO], now_s) == [ONE, TWO]
    assert penalties.unsuspected([ONE, TWO]) == [TWO]  # its time is over, yet nobody has heard from it


def test_an_answer_ends_it() -> None:
    penalties = Penalties()
    penalties.failed(ID, began_s=0, now_s=0)
    penalties.failed(ID, began_s=1, now_s=1)
    penalties.answered(TWO.instance_id, began_s=2)
    assert penalties.sound([ONE], 2) == []
    penalties.answered(ID, began_s=2)
    assert not penalties
    assert penalties.unsuspected([ONE]) == [ONE]
    penalties.failed(ID, began_s=3, now_s=3)
    assert penalties.sound([ONE], 5) == [ONE]  # it begins with 2 s again


def test_calls_that_were_under_way_say_nothing_new() -> None:
    penalties = Penalties()
    for _ in range(50):
        penalties.failed(ID, began_s=0, now_s=10)
    assert penalties.sound([ONE], 12) == [ONE]
    penalties.answered(ID, began_s=9)
    assert penalties.unsuspected([ONE]) == []


def test_the_gone_are_forgotten() -> None:
    penalties = Penalties()
    for number in range(1_000):
        penalties.failed(UUID(int=number), began_s=0, now_s=0)
    penalties.forget_all_but({ID})
    assert penalties.sound([ONE, TWO], 1) == [TWO]
    assert len(penalties._penalties) == 1
