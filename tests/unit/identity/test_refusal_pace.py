"""A refusal goes when it is due: what was done until then does not show."""

from __future__ import annotations

import pytest

from api.security.refusal_pace import STEP_S, RefusalPace


class Time:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now_s += seconds


@pytest.mark.parametrize(
    ("worked_s", "steps"), [(0.0, 1), (0.001, 1), (0.1, 1), (0.499, 1), (0.5, 1), (0.501, 2), (0.9, 2), (7.3, 15)]
)
async def test_what_took_less_than_a_step_takes_one(worked_s: float, steps: int) -> None:
    time = Time()
    async with RefusalPace(time, time.sleep).kept():
        time.now_s += worked_s
    assert time.now_s == pytest.approx(100.0 + steps * STEP_S)


async def test_what_fails_does_not_wait() -> None:
    time = Time()
    with pytest.raises(ZeroDivisionError):
        async with RefusalPace(time, time.sleep).kept():
            raise ZeroDivisionError
    assert time.now_s == 100.0
