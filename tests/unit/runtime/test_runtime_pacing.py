"""Calls that a provider throttles: sent again, spread over time, within what the attempt can spare, and nothing else."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.runtime.heartbeat import Heartbeat
from activities.runtime.pacing import FIRST_S, LONGEST_S, PATIENCE_S, SPARED_S, Pace
from models.base.errors import ProviderThrottled, ProviderUnavailable
from models.contracts.pending_calls import AttemptHeld
from models.domain.holds import HoldCode


class Provider:
    """It answers when it has refused so many calls. Time passes in waits alone."""

    def __init__(self, refusals: int, retry_after_s: float | None = None) -> None:
        self.left, self.calls, self.waits = refusals, 0, list[float]()
        self._retry_after_s = retry_after_s

    async def send(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise ProviderThrottled("slow down", retry_after_s=self._retry_after_s)
        return "answer"

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


def pace_of(provider: Provider, *, share: float = 1.0) -> Pace:
    """`share` of what may be added to a wait is added."""
    return Pace(sleep=provider.sleep, uniform=lambda least, most: least + share * (most - least))


async def test_a_call_that_is_taken_is_sent_once() -> None:
    provider = Provider(refusals=0)
    assert await pace_of(provider).call(provider.send) == "answer"
    assert (provider.calls, provider.waits) == (1, [])


@pytest.mark.parametrize(
    ("retry_after_s", "waits"),
    [(None, [0.5, 1.0, 2.0, 4.0, 4.0]), (1.0, [2.0, 3.0, 5.0, 5.0]), (0.2, [0.7, 1.2, 2.2, 4.2, 4.2])],
)
async def test_what_is_asked_for_is_kept_and_what_is_added_doubles(
    retry_after_s: float | None, waits: list[float]
) -> None:
    provider = Provider(len(waits), retry_after_s)
    assert await pace_of(provider).call(provider.send) == "answer"
    assert provider.waits == pytest.approx(waits)
    shortest = Provider(len(waits), retry_after_s)
    await pace_of(shortest, share=0.0).call(shortest.send)
    assert shortest.waits == [retry_after_s or 0.0] * len(waits), "nothing is sent before the time that was asked for"


async def test_a_crowd_that_is_refused_together_does_not_return_together() -> None:
    dice = random.Random(0)
    crowd = [Provider(refusals=3, retry_after_s=1.0) for _ in range(50)]
    for each in crowd:
        await Pace(sleep=each.sleep, uniform=dice.uniform).call(each.send)
    thirds = sorted(sum(each.waits) for each in crowd)
    assert thirds[0] >= 3.0
    assert max(sum(start <= at < start + 1.0 for at in thirds) for start in range(3, 11)) < 25


async def test_patience_has_an_end_and_the_next_attempt_a_time_of_its_own() -> None:
    provider = Provider(refusals=1000, retry_after_s=1.0)
    with pytest.raises(ProviderThrottled) as refused:
        await pace_of(provider).call(provider.send)
    assert sum(provider.waits) <= PATIENCE_S < sum(provider.waits) + 1.0 + LONGEST_S
    assert refused.value.retry_after_s == 1.0 + LONGEST_S


async def test_a_provider_that_asks_for_more_than_there_is_ends_the_attempt_at_once() -> None:
    provider = Provider(refusals=1, retry_after_s=120.0)
    with pytest.raises(ProviderThrottled) as refused:
        await pace_of(provider, share=0.0).call(provider.send)
    assert (provider.calls, provider.waits, refused.value.retry_after_s) == (1, [], 120.0)


async def test_whatever_else_goes_wrong_is_not_tried_again() -> None:
    """What a lost answer did is not known: that is for who looks first."""
    calls = 0

    async def send() -> None:
        nonlocal calls
        calls += 1
        raise ProviderUnavailable("no answer", retry_after_s=1.0)

    with pytest.raises(ProviderUnavailable):
        await Pace().call(send)
    assert calls == 1


async def test_an_attempt_ends_with_the_answer_before_its_time_is_over_and_tells_meanwhile() -> None:
    provider, told = Provider(refusals=1000, retry_after_s=1.0), list[tuple[object, ...]]()
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, start_to_close_timeout=timedelta(seconds=SPARED_S + 5.0))

    async def attempt() -> float:
        async with Heartbeat() as beat:

            async def send() -> str:
                told.append(beat.details)
                return await provider.send()

            async def sleep(seconds: float) -> None:
                provider.waits.append(seconds)
                beat._ends_at_s -= seconds

            with pytest.raises(ProviderThrottled):
                await Pace(sleep=sleep, uniform=lambda least, _: least).call(send)
            assert Heartbeat.current() is beat
            return beat.left_s

    assert SPARED_S <= await environment.run(attempt) < SPARED_S + 1.0
    assert told == [(), *[(AttemptHeld(code=HoldCode.PROVIDER_THROTTLED),)] * 4]
    assert Heartbeat.current() is None


async def test_what_was_waited_for_and_came_is_told_no_more() -> None:
    provider = Provider(refusals=1)

    async def attempt() -> tuple[object, ...]:
        async with Heartbeat() as beat:
            assert await pace_of(provider).call(provider.send) == "answer"
            return beat.details

    environment = ActivityEnvironment()
    environment.info = replace(environment.info, start_to_close_timeout=timedelta(seconds=30))
    assert await environment.run(attempt) == ()
    assert FIRST_S in provider.waits
