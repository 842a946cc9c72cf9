"""Heartbeats go on beside the work, carry the cursor, and stop with it."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.testing import ActivityEnvironment

from activities.runtime.heartbeat import Heartbeat
from tests.patience import GIVE_UP_S


def environment(timeout_s: float) -> tuple[ActivityEnvironment, list[tuple[Any, ...]]]:
    env, beats = ActivityEnvironment(), []
    env.info = replace(env.info, heartbeat_timeout=timedelta(seconds=timeout_s))
    env.on_heartbeat = lambda *details: beats.append(details)
    return env, beats


async def test_three_beats_per_time_out_with_the_latest_cursor() -> None:
    """Counted against sleeps of the same loop, which a stall makes as late as the beats."""
    env, beats = environment(0.3)

    @activity.defn
    async def work() -> None:
        async with Heartbeat("page", 1) as beat, asyncio.timeout(GIVE_UP_S):
            for _ in range(12):
                await asyncio.sleep(0.1)
            assert 9 <= len(beats) <= 15
            beat.details = ("page", 2)
            while beats[-1] != ("page", 2):
                await asyncio.sleep(0.01)

    await env.run(work)
    assert beats[0] == ("page", 1)


async def test_none_after_the_work_whether_it_succeeds_or_fails() -> None:
    env, beats = environment(0.03)

    @activity.defn
    async def work() -> None:
        async with Heartbeat():
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        await env.run(work)
    count = len(beats)
    await asyncio.sleep(0.1)
    assert len(beats) == count >= 1


async def test_a_cancellation_of_the_work_is_not_swallowed() -> None:
    env, _ = environment(10)

    @activity.defn
    async def work() -> str:
        async with Heartbeat():
            env.cancel()
            await asyncio.sleep(5)
        return "went on"

    with pytest.raises(asyncio.CancelledError):
        await env.run(work)


async def test_beats_that_fail_are_told_to_the_work() -> None:
    env, beats = environment(0.03)

    def broken(*_: Any) -> None:
        beats.append(())
        if len(beats) > 1:
            raise TypeError("details cannot be encoded")

    env.on_heartbeat = broken

    @activity.defn
    async def work() -> None:
        async with Heartbeat():
            await asyncio.sleep(0.1)

    with pytest.raises(TypeError, match="encoded"):
        await env.run(work)


async def test_now_sends_the_cursor_at_once() -> None:
    env, beats = environment(60)

    @activity.defn
    async def work() -> None:
        async with Heartbeat() as beat:
            beat.details = (7,)
            beat.now()

    await env.run(work)
    assert beats == [(), (7,)]
