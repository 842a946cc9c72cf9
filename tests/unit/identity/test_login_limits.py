"""Guessing is slow, and slowing it down costs bounded memory."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.security import login_limits
from api.security.login_limits import LoginLimits
from models.base.errors import RateLimited
from models.base.ids import new_id


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def attempts(limits: LoginLimits, count: int, address: str = "10.0.0.1", login: str = "ada") -> int:
    """How many of them were let through."""
    passed = 0
    for _ in range(count):
        try:
            limits.attempt(address, login)
            passed += 1
        except RateLimited:
            continue
    return passed


def test_five_a_minute_per_address_and_login_and_the_wait_is_named() -> None:
    clock = Clock()
    limits = LoginLimits(clock)
    assert attempts(limits, 50) == 5
    with pytest.raises(RateLimited) as refused:
        limits.attempt("10.0.0.1", "ada")
    assert refused.value.retry_after_s == pytest.approx(12)
    clock.now_s += 12.001
    assert attempts(limits, 50) == 1


def test_twenty_a_minute_per_address_whatever_the_login() -> None:
    limits = LoginLimits(Clock())
    assert sum(attempts(limits, 1, login=f"user{number}") for number in range(100)) == 20


def test_an_hour_has_its_own_limit() -> None:
    clock = Clock()
    limits = LoginLimits(clock)
    passed = 0
    for _ in range(3600):
        clock.now_s += 1
        passed += attempts(limits, 1)
    assert passed <= 30 + 30 + 1  # the bucket, and what leaks out of it in an hour


def test_a_success_clears_the_pair_but_not_the_address() -> None:
    limits = LoginLimits(Clock())
    for _ in range(4):
        assert attempts(limits, 5) == 5
        limits.succeeded("10.0.0.1", "ada")
    assert attempts(limits, 5) == 0


def test_addresses_of_one_ipv6_site_are_one_caller() -> None:
    limits = LoginLimits(Clock())
    assert sum(attempts(limits, 1, f"2001:db8::{number:x}") for number in range(1, 20)) == 5
    assert attempts(limits, 1, "2001:db8:0:1::1") == 1


def test_callers_of_a_socket_that_speaks_both_protocols_are_not_one() -> None:
    limits = LoginLimits(Clock())
    assert attempts(limits, 50, "::ffff:192.0.2.1") == 5
    assert attempts(limits, 50, "::ffff:192.0.2.2") == 5
    assert attempts(limits, 50, "192.0.2.1") == 0  # the same caller by the other protocol


ADA, BOB = new_id(), new_id()


def reserved(limits: LoginLimits, count: int, user_id: UUID = ADA, network: str = "192.0.2.0/24") -> int:
    """How many of them were let through."""
    passed = 0
    for _ in range(count):
        try:
            limits.attempt_reserved(user_id, network)
            passed += 1
        except RateLimited:
            continue
    return passed


def test_the_reserve_is_five_a_minute_for_each_person_and_network() -> None:
    clock = Clock()
    limits = LoginLimits(clock)
    assert [reserved(limits, 50), reserved(limits, 50, BOB), reserved(limits, 50, ADA, "198.51.100.0/24")] == [5, 5, 5]
    clock.now_s += 12.001
    assert reserved(limits, 50) == 1
    limits.succeeded_reserved(ADA, "192.0.2.0/24")
    assert [reserved(limits, 50), reserved(limits, 50, BOB)] == [5, 1]


def test_the_reserve_of_an_hour_is_thirty() -> None:
    clock = Clock()
    limits = LoginLimits(clock)
    passed = 0
    for _ in range(3600):
        clock.now_s += 1
        passed += reserved(limits, 1)
    assert 30 <= passed <= 30 + 30 + 1  # the bucket, and what leaks out of it in an hour


def test_strangers_without_end_make_nobody_forget_what_the_reserve_has_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_limits, "REMEMBERED", 50)
    limits = LoginLimits(Clock())
    assert reserved(limits, 5) == 5
    for number in range(200):
        attempts(limits, 1, f"10.1.0.{number}", f"user{number}")
    assert reserved(limits, 5) == 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_limits, "REMEMBERED", 50)
    limits = LoginLimits(Clock())
    for number in range(1000):
        attempts(limits, 1, f"10.1.{number // 250}.{number % 250}", f"user{number}")
    assert len(limits._callers) <= 50


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_no_window_of_a_minute_lets_more_through_than_the_bucket_and_its_leak(pauses: list[float]) -> None:
    clock, passed_at = Clock(), []
    limits = LoginLimits(clock)
    for pause_s in pauses:
        clock.now_s += pause_s
        if attempts(limits, 1):
            passed_at.append(clock.now_s)
    for at in passed_at:
        assert sum(at <= other < at + 60 for other in passed_at) <= 10
