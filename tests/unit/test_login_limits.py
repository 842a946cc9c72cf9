"""Guessing is slow, and slowing it down costs bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.security import login_limits
from api.security.login_limits import LoginLimits
from models.base.errors import RateLimited


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


def test_five_a_minute_per_address_and_login_and_the_wait_is_named():
    clock = Clock()
    limits = LoginLimits(clock)
    assert attempts(limits, 50) == 5
    with pytest.raises(RateLimited) as refused:
        limits.attempt("10.0.0.1", "ada")
    assert refused.value.retry_after_s == pytest.approx(12)
    clock.now_s += 12.001
    assert attempts(limits, 50) == 1


def test_twenty_a_minute_per_address_whatever_the_login():
    limits = LoginLimits(Clock())
    assert sum(attempts(limits, 1, login=f"user{number}") for number in range(100)) == 20


def test_an_hour_has_its_own_limit():
    clock = Clock()
    limits = LoginLimits(clock)
    passed = 0
    for _ in range(3600):
        clock.now_s += 1
        passed += attempts(limits, 1)
    assert passed <= 30 + 30 + 1  # the bucket, and what leaks out of it in an hour


def test_a_success_clears_the_pair_but_not_the_address():
    limits = LoginLimits(Clock())
    for _ in range(4):
        assert attempts(limits, 5) == 5
        limits.succeeded("10.0.0.1", "ada")
    assert attempts(limits, 5) == 0


def test_addresses_of_one_ipv6_site_are_one_caller():
    limits = LoginLimits(Clock())
    assert sum(attempts(limits, 1, f"2001:db8::{number:x}") for number in range(1, 20)) == 5
    assert attempts(limits, 1, "2001:db8:0:1::1") == 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(login_limits, "REMEMBERED", 50)
    limits = LoginLimits(Clock())
    for number in range(1000):
        attempts(limits, 1, f"10.1.{number // 250}.{number % 250}", f"user{number}")
    assert len(limits._debts) <= 51


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_no_window_of_a_minute_lets_more_through_than_the_bucket_and_its_leak(pauses: list[float]):
    clock, passed_at = Clock(), []
    limits = LoginLimits(clock)
    for pause_s in pauses:
        clock.now_s += pause_s
        if attempts(limits, 1):
            passed_at.append(clock.now_s)
    for at in passed_at:
        assert sum(at <= other < at + 60 for other in passed_at) <= 10
