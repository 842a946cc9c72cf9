"""The sweeper's questions to the database, across all organizations."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from models.repositories.database import Database
from models.repositories.liveness import LONGEST_INTAKE_GAP_S

STALE = text("SELECT count(*) FROM mark_stale_instances(:stale_s, :longest_gap_s)")
UNFINISHED = text("SELECT instance_id, organization_id, provider_code FROM unfinished_instances(:older_than_s)")
PURGE = text("SELECT purge_expired(:delivered_kept_s, :events_kept_s)")

DELIVERED_KEPT_S = 7 * 86_400.0


@dataclass(frozen=True)
class Unfinished:
    """A row that needs an owner."""

    instance_id: UUID
    organization_id: UUID
    provider_code: str


class SweeperRows:
    def __init__(self, database: Database, *, stale_s: float, events_kept_s: float) -> None:
        self._database = database
        self._stale_s, self._events_kept_s = stale_s, events_kept_s

    async def mark_stale(self) -> int:
        """Ready instances whose agent has been silent for too long while heartbeats were taken; each owner is told through the
        outbox, once.
        """
        values = {"stale_s": self._stale_s, "longest_gap_s": LONGEST_INTAKE_GAP_S}
        async with self._database.system() as session:
            return int((await session.execute(STALE, values)).scalar_one())

    async def unfinished(self, *, older_than_s: float) -> list[Unfinished]:
        """Every row that needs an owner and is older than that."""
        async with self._database.system() as session:
            rows = await session.execute(UNFINISHED, {"older_than_s": older_than_s})
            return [Unfinished(row.instance_id, row.organization_id, row.provider_code) for row in rows]

    async def purge(self) -> int:
        """Rows whose time is over: delivered messages, old events, expired idempotency keys."""
        kept = {"delivered_kept_s": DELIVERED_KEPT_S, "events_kept_s": self._events_kept_s}
        async with self._database.system() as session:
            return int((await session.execute(PURGE, kept)).scalar_one())
