"""Upkeep of the heartbeat samples: partitions come and go with the clock, and no minute is lost or counted twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from models.base.errors import ServiceUnavailable
from models.base.ids import new_id
from models.repositories.database import Database
from models.repositories.fleet import samples
from tests.servers import TestDatabase, TestPostgres

NOON = datetime(2031, 3, 30, 12, 0, 0, tzinfo=UTC)
"""Far from the real clock, and the day on which Europe's clocks change."""

RAW = ("system_samples", "gpu_samples")
MINUTE = timedelta(minutes=1)


class Samples:
    def __init__(self, url: str) -> None:
        self.url = url
        self.organization_id, self.instance_id = new_id(), new_id()

    def execute(self, statement: str, *parameters: object) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def add(self, at: datetime, cpu: float, *, instance_id: UUID | None = None, total: int = 100) -> None:
        instance_id = instance_id or self.instance_id
        self.execute(
            "INSERT INTO system_samples (instance_id, organization_id, time, cpu_usage_pct, mem_used_bytes, mem_total_bytes) "
            "VALUES (%s, %s, %s, %s, 11, %s)",
            instance_id, self.organization_id, at, cpu, total,
        )  # fmt: skip
        for gpu in (0, 1):
            self.execute(
                "INSERT INTO gpu_samples (instance_id, organization_id, time, gpu_index, gpu_utilization, power_limit_w) "
                "VALUES (%s, %s, %s, %s, %s, %s)",
                instance_id, self.organization_id, at, gpu, cpu + gpu, total,
            )  # fmt: skip

    def minutes(self) -> list[tuple[datetime, float]]:
        return self.execute("SELECT time, cpu_usage_pct FROM system_samples_minute ORDER BY time, instance_id")

    def partitions(self, table: str) -> list[str]:
        rows = self.execute(
            "SELECT c.relname FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid WHERE h.inhparent = %s::regclass "
            "AND c.relname !~ 'default' ORDER BY 1",
            table,
        )
        return [name for (name,) in rows]

    def in_default(self, table: str) -> int:
        [(count,)] = self.execute(f"SELECT count(*) FROM {table}_p_default")  # noqa: S608
        return int(count)


@pytest.fixture
def stored(database: TestDatabase) -> Samples:
    return Samples(database.owner)


@pytest.fixture
async def worker(database: TestDatabase) -> AsyncIterator[Database]:
    connected = Database(database.worker, pool_size=5)
    yield connected
    await connected.close()


async def test_a_migrated_database_has_partitions_for_now(postgres: TestPostgres) -> None:
    """One that was migrated now: what others are copied from was at the start of a session, which may be an hour ago."""
    migrated = postgres.create_at("head")
    try:
        stored = Samples(migrated.owner)
        stored.add(datetime.now(UTC), 1)
        assert [stored.in_default(table) for table in RAW] == [0, 0]
    finally:
        postgres.drop(migrated)


async def test_partitions_exist_ahead_of_the_clock(stored: Samples, worker: Database) -> None:
    await samples.ensure_partitions(worker, now=NOON)
    assert {
        "system_samples_p203103301200", "system_samples_p203103301210",
        "system_samples_p203103301220", "system_samples_p203103301230",
    } <= set(stored.partitions("system_samples"))  # fmt: skip
    assert {"gpu_samples_minute_p203103300000", "gpu_samples_minute_p203103310000"} <= set(
        stored.partitions("gpu_samples_minute")
    )
    stored.add(NOON + timedelta(minutes=39, seconds=59), 1)
    assert stored.in_default("system_samples") == 0


async def test_doing_it_again_changes_nothing(stored: Samples, worker: Database) -> None:
    assert await samples.ensure_partitions(worker, now=NOON) > 0
    assert await samples.ensure_partitions(worker, now=NOON + timedelta(seconds=30)) == 0


async def test_two_workers_at_once(stored: Samples, worker: Database) -> None:
    changes = await asyncio.gather(*(samples.ensure_partitions(worker, now=NOON) for _ in range(5)))
    assert len([count for count in changes if count]) >= 1
    stored.add(NOON, 1)
    assert stored.in_default("system_samples") == 0


async def test_only_complete_minutes_are_averaged(stored: Samples, worker: Database) -> None:
    await samples.ensure_partitions(worker, now=NOON)
    other = new_id()
    for second, cpu in ((0, 10), (30, 20), (59, 30), (60, 90)):
        stored.add(NOON + timedelta(seconds=second), cpu, total=second)
    stored.add(NOON, 50, instance_id=other)
    assert await samples.roll_up(worker, now=NOON + timedelta(seconds=59)) == 0
    assert await samples.roll_up(worker, now=NOON + timedelta(seconds=61)) == 2 + 4
    assert sorted(cpu for _, cpu in stored.minutes()) == [20, 50]
    assert stored.execute(
        "SELECT mem_used_bytes, mem_total_bytes, organization_id FROM system_samples_minute WHERE instance_id = %s",
        stored.instance_id,
    ) == [(11, 59, stored.organization_id)]
    assert stored.execute(
        "SELECT gpu_index, gpu_utilization, power_limit_w FROM gpu_samples_minute WHERE instance_id = %s ORDER BY 1",
        stored.instance_id,
    ) == [(0, 20, 59), (1, 21, 59)]


async def test_averaging_again_gives_the_same(stored: Samples, worker: Database) -> None:
    await samples.ensure_partitions(worker, now=NOON)
    for minute in range(5):
        stored.add(NOON + minute * MINUTE, minute)
    for _ in range(3):
        await samples.roll_up(worker, now=NOON + 5 * MINUTE)
    assert stored.minutes() == [(NOON + minute * MINUTE, minute) for minute in range(5)]


async def test_a_heartbeat_that_commits_late_still_counts(stored: Samples, worker: Database) -> None:
    await samples.ensure_partitions(worker, now=NOON)
    stored.add(NOON, 10)
    await samples.roll_up(worker, now=NOON + MINUTE)
    stored.add(NOON + timedelta(seconds=59), 30)
    stored.add(NOON + MINUTE, 5)
    await samples.roll_up(worker, now=NOON + 2 * MINUTE)
    assert stored.minutes() == [(NOON, 20), (NOON + MINUTE, 5)]


async def test_minutes_missed_while_nobody_averaged_are_made_up(stored: Samples, worker: Database) -> None:
    await samples.ensure_partitions(worker, now=NOON)
    for minute in range(40):
        stored.add(NOON + minute * MINUTE, minute)
    await samples.roll_up(worker, now=NOON + 2 * MINUTE)
    await samples.roll_up(worker, now=NOON + 40 * MINUTE)
    assert [cpu for _, cpu in stored.minutes()] == list(range(40))


async def test_raw_samples_live_an_hour_and_are_averaged_before_they_go(stored: Samples, worker: Database) -> None:
    await samples.ensure_partitions(worker, now=NOON)
    stored.add(NOON + timedelta(minutes=9), 42)
    await samples.ensure_partitions(worker, now=NOON + timedelta(minutes=69))
    assert stored.execute("SELECT count(*) FROM system_samples") == [(1,)]
    assert stored.minutes() == []
    await samples.ensure_partitions(worker, now=NOON + timedelta(minutes=70))
    assert stored.execute("SELECT count(*) FROM system_samples") == [(0,)]
    assert stored.execute("SELECT count(*) FROM gpu_samples") == [(0,)]
    assert stored.minutes() == [(NOON + timedelta(minutes=9), 42)]
    assert "system_samples_p203103301200" not in stored.partitions("system_samples")


async def test_averages_live_thirty_days(stored: Samples, worker: Database) -> None:
    await samples.ensure_partitions(worker, now=NOON)
    stored.add(NOON, 1)
    await samples.roll_up(worker, now=NOON + MINUTE)
    await samples.ensure_partitions(worker, now=NOON + timedelta(days=30))
    assert len(stored.minutes()) == 1
    await samples.ensure_partitions(worker, now=NOON + timedelta(days=31))
    assert stored.minutes() == []


async def test_the_net_is_emptied(stored: Samples, worker: Database) -> None:
    """Nobody ran the upkeep for two hours: samples went to the default partition, some of them beyond their life."""
    times = [NOON, NOON + timedelta(minutes=95), NOON + timedelta(minutes=119)]
    for number, time in enumerate(times):
        stored.add(time, number)
    assert stored.in_default("system_samples") == 3
    await samples.ensure_partitions(worker, now=NOON + timedelta(hours=2))
    assert [stored.in_default(table) for table in samples.TABLES] == [0, 0, 0, 0]
    assert stored.execute("SELECT time FROM system_samples ORDER BY 1") == [(time,) for time in times[1:]]
    assert stored.minutes() == [(NOON, 0)]
    await samples.roll_up(worker, now=NOON + timedelta(hours=2))
    assert stored.minutes() == [(time, number) for number, time in enumerate(times)]


async def test_upkeep_gives_up_rather_than_keep_heartbeats_waiting(stored: Samples, worker: Database) -> None:
    await samples.ensure_partitions(worker, now=NOON)
    with psycopg.connect(stored.url) as reader:
        reader.execute("SELECT count(*) FROM system_samples")
        with pytest.raises(ServiceUnavailable):  # a lock it did not get in two seconds
            await samples.ensure_partitions(worker, now=NOON + timedelta(hours=3))
    assert await samples.ensure_partitions(worker, now=NOON + timedelta(hours=3)) > 0


async def test_a_tenant_sees_its_own_samples_only(stored: Samples, database: TestDatabase) -> None:
    """Once there is something that reads them: no process may yet."""
    now = datetime.now(UTC)
    stored.add(now, 1)
    with psycopg.connect(database.owner) as owner:
        owner.execute("GRANT SELECT ON system_samples TO quarterdeck_api")
    with psycopg.connect(database.api) as connection:
        assert connection.execute("SELECT count(*) FROM system_samples").fetchone() == (0,)
        connection.execute("SELECT set_config('app.organization_id', %s, true)", (str(stored.organization_id),))
        assert connection.execute("SELECT count(*) FROM system_samples").fetchone() == (1,)
        connection.execute("SELECT set_config('app.organization_id', %s, true)", (str(new_id()),))
        assert connection.execute("SELECT count(*) FROM system_samples").fetchone() == (0,)
        [name] = connection.execute(
            "SELECT relname FROM pg_class WHERE relname ~ '^system_samples_p[0-9]' LIMIT 1"
        ).fetchone() or [""]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SELECT * FROM {name}")  # noqa: S608
