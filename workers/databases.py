"""The connections of a worker process, by what they are for: what hangs for one purpose keeps none from another (decision 63)."""

import asyncio
from dataclasses import dataclass, replace

from models.repositories.database import Database
from models.repositories.identity.session_limits import OF_ROLE, UPKEEP, SessionLimits
from models.settings import Settings
from models.settings.derived import DatabaseRole, database_url

SPARED = 2
"""Of the connections of activities, and of a family's share of them, so many are never one organization's: rows that hang are
nearly always one's own.
"""
DISPATCHER = 1
"""It has one transaction at a time."""
ROUNDS = 2
"""The sweeper, the upkeep of samples, the comparisons with providers: short transactions, one at a time each."""


@dataclass(frozen=True)
class Databases:
    """Together with one that listens, the most connections of a process are `database_pool_size` and four, and those
    that families have of their own.
    """

    activities: Database
    outbox: Database
    upkeep: Database

    @classmethod
    def of(cls, settings: Settings) -> "Databases":
        """Raises SettingsError. Nothing connects before it is used."""
        limits = OF_ROLE[DatabaseRole.WORKER]
        return cls(
            activities=_database(settings, "activities", settings.database_pool_size, limits, spared=SPARED),
            outbox=_database(settings, "outbox", DISPATCHER, limits),
            upkeep=_database(settings, "upkeep", ROUNDS, UPKEEP),
        )

    def of_family(self, family: str, own: Database | None) -> "Databases":
        """What the family has: for activities connections of its `own`, or else a share of those of all; for upkeep a share."""
        activities = self.activities.of_family(family) if own is None else own
        return replace(self, activities=activities, upkeep=self.upkeep.of_family(family))

    async def close(self) -> None:
        await asyncio.gather(self.activities.close(), self.outbox.close(), self.upkeep.close())


def database_of_family(settings: Settings, name: str, connections: int) -> Database:
    """For activities that are the family's alone. Raises SettingsError."""
    return _database(settings, f"activities-{name}", connections, OF_ROLE[DatabaseRole.WORKER])


def _database(settings: Settings, purpose: str, size: int, limits: SessionLimits, *, spared: int = 0) -> Database:
    url, name = database_url(settings, DatabaseRole.WORKER), f"quarterdeck-worker-{purpose}"
    return Database(url, pool_size=size, application_name=name, limits=limits, spared=spared)
