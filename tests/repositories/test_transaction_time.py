"""One clock: what a transaction writes and compares with is the database's time, wherever this machine's clock stands."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from models.base.ids import new_id
from models.repositories import database_clock
from models.repositories.database import Database
from models.repositories.database_clock import DatabaseClock
from models.repositories.transaction_time import began_at
from tests.servers import TestDatabase

LONG_AGO = datetime(2001, 2, 3, tzinfo=UTC)
"""Where a clock stands that somebody set wrong."""


async def test_a_transaction_began_when_the_database_says(database: TestDatabase) -> None:
    connected = Database(database.api, pool_size=1)
    for transaction in (connected.tenant(new_id()), connected.system()):
        async with transaction as session:
            asked = (await session.execute(text("SELECT now()"))).scalar_one()
            assert await began_at(session) == asked
            await session.execute(text("SELECT pg_sleep(0.01)"))
            assert await began_at(session) == asked
            assert (await began_at(session)).tzinfo is UTC
    await connected.close()


def test_between_two_words_of_the_database_its_time_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, measured = DatabaseClock(), iter([160.0, 161.0, 200.0])
    monkeypatch.setattr(database_clock, "utc_now", lambda: LONG_AGO)
    monkeypatch.setattr(database_clock, "time", SimpleNamespace(monotonic=lambda: next(measured)))
    assert clock.now() == LONG_AGO
    told = datetime(2026, 1, 1, tzinfo=UTC)
    clock.hear(told, 100.0)
    assert [clock.now(), clock.now()] == [told + timedelta(seconds=60), told + timedelta(seconds=61)]
    clock.hear(told - timedelta(hours=1), 200.0)  # somebody set it
    assert clock.now() == told - timedelta(hours=1)
