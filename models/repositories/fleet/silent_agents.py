"""Agents that have fallen silent, across all organizations: what the fleet looks for in every sweep."""

from sqlalchemy import text

from models.repositories.database import Database
from models.repositories.fleet.liveness import LONGEST_INTAKE_GAP_S

STALE = text("SELECT count(*) FROM mark_stale_instances(:stale_s, :longest_gap_s)")
UNHEARD = text("SELECT count(*) FROM doubt_unheard_agents(:longest_gap_s, :most)")

MOST_DOUBTED = 100
"""In one sweep: each of them costs its provider one call, and by the next one most have been heard."""


class SilentAgents:
    def __init__(self, database: Database, *, stale_s: float) -> None:
        self._database, self._stale_s = database, stale_s

    async def mark_stale(self) -> int:
        """Ready instances whose agent has been silent for too long while heartbeats were taken; each owner is told through the
        outbox, once.
        """
        values = {"stale_s": self._stale_s, "longest_gap_s": LONGEST_INTAKE_GAP_S}
        async with self._database.system() as session:
            return int((await session.execute(STALE, values)).scalar_one())

    async def doubt_unheard(self) -> int:
        """Ready instances not heard of since heartbeats are taken again; each owner is told through the outbox, once."""
        values = {"longest_gap_s": LONGEST_INTAKE_GAP_S, "most": MOST_DOUBTED}
        async with self._database.system() as session:
            return int((await session.execute(UNHEARD, values)).scalar_one())
