"""Group commit of heartbeats: few writes, an answer for everyone, and nobody pays for another's trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from api.node_agents import heartbeats as module
from api.node_agents.heartbeats import Heartbeats, Record
from models.base.errors import ServiceUnavailable
from models.base.ids import new_id
from models.domain.fleet.instances.heartbeats import Heartbeat, Outcome
from models.domain.fleet.instances.state import AgentStatus
from tests.patience import GIVE_UP_S

GOOD = "t"


def beat(instance_id: UUID | None = None, token: str = GOOD, queue_depth: int = 0) -> Heartbeat:
    return Heartbeat(instance_id or new_id(), token, AgentStatus.READY, queue_depth=queue_depth)


class Log:
    """Records batches; `trouble` raises for a batch that it dislikes."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self.batches: list[list[Heartbeat]] = []
        self.delay_s = delay_s
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.trouble: Exception | None = None
        self.poison: Heartbeat | None = None

    async def __call__(self, batch: Sequence[Heartbeat]) -> list[Outcome]:
        self.batches.append(list(batch))
        await asyncio.sleep(self.delay_s)
        await self.may_answer.wait()
        if self.trouble is not None:
            raise self.trouble
        if self.poison in batch:
            raise ValueError("this one cannot be written")
        return [Outcome.OK if heartbeat.token_hash == GOOD else Outcome.UNAUTHORIZED for heartbeat in batch]


@asynccontextmanager
async def collecting(record: Record) -> AsyncIterator[Heartbeats]:
    heartbeats = Heartbeats(record, gather_s=0.01)
    await heartbeats.start()
    try:
        yield heartbeats
    finally:
        await heartbeats.close()


async def test_what_arrives_together_is_written_together() -> None:
    log = Log()
    async with collecting(log) as heartbeats:
        outcomes = await asyncio.gather(*(heartbeats.submit(beat(token=GOOD if n % 2 else "x")) for n in range(100)))
    assert len(log.batches) == 1
    assert outcomes == [Outcome.OK if n % 2 else Outcome.UNAUTHORIZED for n in range(100)]


async def test_a_slow_database_makes_batches_larger_not_more_numerous() -> None:
    log = Log()
    log.may_answer.clear()
    async with collecting(log) as heartbeats:
        waiting = [asyncio.create_task(heartbeats.submit(beat()))]
        async with asyncio.timeout(GIVE_UP_S):
            while not log.batches:
                await asyncio.sleep(0.01)
        for _ in range(29):
            waiting.append(asyncio.create_task(heartbeats.submit(beat())))
            await asyncio.sleep(0.01)
        log.may_answer.set()
        await asyncio.gather(*waiting)
    assert [len(batch) for batch in log.batches] == [1, 29]


async def test_a_batch_has_its_limit() -> None:
    log = Log()
    async with collecting(log) as heartbeats:
        await asyncio.gather(*(heartbeats.submit(beat()) for _ in range(module.BATCH_LIMIT * 2 + 1)))
    assert [len(batch) for batch in log.batches] == [module.BATCH_LIMIT, module.BATCH_LIMIT, 1]


async def test_two_of_one_agent_keep_their_order_in_batches_of_their_own() -> None:
    log, agent = Log(), new_id()
    async with collecting(log) as heartbeats:
        await asyncio.gather(
            *(heartbeats.submit(beat(agent, queue_depth=depth)) for depth in range(3)), heartbeats.submit(beat())
        )
    assert [[heartbeat.queue_depth for heartbeat in batch if heartbeat.instance_id == agent] for batch in log.batches] == [
        [0], [1], [2],
    ]  # fmt: skip
    assert len(log.batches[0]) == 2


async def test_a_strangers_flood_does_not_delay_the_agent_itself() -> None:
    log, agent = Log(), new_id()
    async with collecting(log) as heartbeats:
        flood = [asyncio.create_task(heartbeats.submit(beat(agent, token="x"))) for _ in range(50)]
        await asyncio.sleep(0)
        assert await heartbeats.submit(beat(agent)) is Outcome.OK
        assert len(log.batches) == 1
        await asyncio.gather(*flood)


async def test_an_outage_is_told_to_everyone_and_ends() -> None:
    log = Log()
    log.trouble = ServiceUnavailable("away", retry_after_s=2)
    async with collecting(log) as heartbeats:
        failures = await asyncio.gather(*(heartbeats.submit(beat()) for _ in range(5)), return_exceptions=True)
        assert all(isinstance(failure, ServiceUnavailable) for failure in failures)
        assert len(log.batches) == 1
        log.trouble = None
        assert await heartbeats.submit(beat()) is Outcome.OK


async def test_one_that_cannot_be_written_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    log = Log()
    log.poison = beat(token="a-secret-hash")
    async with collecting(log) as heartbeats:
        good = [heartbeats.submit(beat()) for _ in range(20)]
        results = await asyncio.gather(*good[:7], heartbeats.submit(log.poison), *good[7:], return_exceptions=True)
    assert [result for result in results if result is Outcome.OK] == [Outcome.OK] * 20
    assert isinstance(results[7], ValueError)
    assert "a-secret-hash" not in caplog.text
    assert str(log.poison.instance_id) in caplog.text


async def test_whoever_went_away_is_not_written_for() -> None:
    log = Log()
    async with collecting(log) as heartbeats:
        gone = asyncio.create_task(heartbeats.submit(beat(queue_depth=7)))
        await asyncio.sleep(0)
        gone.cancel()
        assert await heartbeats.submit(beat()) is Outcome.OK
    assert all(heartbeat.queue_depth != 7 for batch in log.batches for heartbeat in batch)


async def test_closing_writes_what_has_arrived() -> None:
    log = Log(delay_s=0.05)
    heartbeats = Heartbeats(log, gather_s=0.01)
    await heartbeats.start()
    waiting = [asyncio.create_task(heartbeats.submit(beat())) for _ in range(module.BATCH_LIMIT + 10)]
    await asyncio.sleep(0)
    await heartbeats.close()
    assert [await task for task in waiting] == [Outcome.OK] * (module.BATCH_LIMIT + 10)
    with pytest.raises(ServiceUnavailable):
        await heartbeats.submit(beat())


async def test_closing_does_not_wait_for_a_database_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_WITHIN_S", 0.1)
    heartbeats = Heartbeats(Log(delay_s=3600), gather_s=0.01)
    await heartbeats.start()
    written = asyncio.create_task(heartbeats.submit(beat()))
    await asyncio.sleep(0.05)
    behind = asyncio.create_task(heartbeats.submit(beat()))
    await asyncio.sleep(0)
    await asyncio.wait_for(heartbeats.close(), GIVE_UP_S)
    for task in (written, behind):
        with pytest.raises(ServiceUnavailable):
            await task


async def test_too_many_waiting_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_LIMIT", 3)
    async with collecting(Log()) as heartbeats:
        results = await asyncio.gather(*(heartbeats.submit(beat()) for _ in range(5)), return_exceptions=True)
    assert results[:3] == [Outcome.OK] * 3
    assert all(isinstance(result, ServiceUnavailable) and result.retry_after_s for result in results[3:])
