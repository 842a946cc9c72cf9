"""Upkeep of the heartbeat samples: partitions made ahead of time, minutes averaged, what is old dropped.

Raw samples live an hour in partitions of ten minutes, minute averages thirty days in partitions of a day. A DEFAULT partition
catches what arrives when the upkeep has not run for long; the next run empties it. Everything may run at any time, twice, or on
two workers at once.
"""

from datetime import datetime

from sqlalchemy import text

from models.repositories.database import Database

TABLES = ("system_samples", "gpu_samples", "system_samples_minute", "gpu_samples_minute")

ENSURE = text("SELECT ensure_sample_partitions(:table_name, coalesce(CAST(:now AS timestamptz), now()))")
ROLL_UP = text("SELECT roll_up_samples(coalesce(CAST(:now AS timestamptz), now()))")
"""Samples bear the database's time: so it is the database's that says which of them are old, unless a moment is given."""


async def ensure_partitions(database: Database, *, now: datetime | None = None) -> int:
    """Partitions for the time ahead exist, expired ones are averaged a last time and gone. Returns how many came and went.

    One transaction per table: dropping a partition keeps heartbeats waiting, for as short as possible.
    """
    changes = 0
    for table in TABLES:
        async with database.system() as session:
            changes += (await session.execute(ENSURE, {"table_name": table, "now": now})).scalar_one()
    return changes


async def roll_up(database: Database, *, now: datetime | None = None) -> int:
    """Average the minutes that are complete. Returns how many rows of averages were written or written again."""
    async with database.system() as session:
        rows: int = (await session.execute(ROLL_UP, {"now": now})).scalar_one()
    return rows


class SampleUpkeep:
    """Both duties in the order in which they depend on each other, for who is given one object."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self) -> tuple[int, int]:
        """(rows of averages written, partitions that came and went)."""
        averaged = await roll_up(self._database)
        return averaged, await ensure_partitions(self._database)
