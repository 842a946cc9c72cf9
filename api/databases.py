"""The connections of an API process, by what they are for: what hangs for one purpose keeps none from another (decision 63)."""

import asyncio
from dataclasses import dataclass, replace

from models.repositories.database import Database
from models.repositories.identity.session_limits import OF_ROLE
from models.settings import Settings
from models.settings.derived import DatabaseRole, database_url

SPARED = 2
"""Of the connections of requests, and of a family's share of them, so many are never one organization's: rows that hang are
nearly always one's own.
"""
SIGNS_OF_LIFE = 2
"""The heartbeats of agents and the pulse. Each has one transaction at a time, so that neither ever waits for a connection."""
AGENTS, INFERENCE, UPKEEP = 2, 3, 2


@dataclass(frozen=True)
class Databases:
    """Together with four that listen, the most connections of a process are twice `database_pool_size` and 13."""

    requests: Database
    signs_of_life: Database
    agents: Database
    """Registrations: they lock rows that an owner changes too."""
    inference: Database
    """What is kept of calls of models: records, answers. A call without an `Idempotency-Key` needs neither at once."""
    upkeep: Database
    """What nobody waits for."""

    @classmethod
    def of(cls, settings: Settings) -> "Databases":
        """Raises SettingsError. Nothing connects before it is used."""
        url = database_url(settings, DatabaseRole.API)

        def database(purpose: str, size: int, *, spared: int = 0) -> Database:
            name = f"quarterdeck-api-{purpose}"
            limits = OF_ROLE[DatabaseRole.API]
            return Database(url, pool_size=size, application_name=name, limits=limits, spared=spared)

        return cls(
            requests=database("requests", settings.database_pool_size, spared=SPARED),
            signs_of_life=database("signs-of-life", SIGNS_OF_LIFE),
            agents=database("agents", AGENTS),
            inference=database("inference", INFERENCE),
            upkeep=database("upkeep", UPKEEP),
        )

    def of_family(self, family: str) -> "Databases":
        """What the family's objects have: of the connections of requests its share."""
        return replace(self, requests=self.requests.of_family(family))

    async def close(self) -> None:
        every = (self.requests, self.signs_of_life, self.agents, self.inference, self.upkeep)
        await asyncio.gather(*(one.close() for one in every))
