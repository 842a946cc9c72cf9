"""What an API process tells the database every few seconds and hears back, in one round trip."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.fleet.liveness import LONGEST_INTAKE_GAP_S
from models.repositories.outbox import ALARM_AFTER_S

STUCK_COUNTED = 1000
"""Of each kind of stuck message no more than so many are counted."""

BEAT = text(
    "SELECT note_heartbeat_intake(:longest_gap_s), count_stuck_messages(:overdue_s, :most) AS stuck, "
    "count_unowned_machines() AS unowned, count_alarms() AS alarms"
)


@dataclass(frozen=True)
class Ailments:
    """What is wrong with the installation, whoever's it is."""

    stuck_messages: int = 0
    """That have an alarm, or that nobody takes up."""
    unowned_machines: int = 0
    """At providers, with our tag and nobody who looks after them."""
    alarms: Mapping[str, int] = field(default_factory=dict)
    """Those that are open, by code."""


async def beat(session: AsyncSession) -> Ailments:
    """Heartbeats are taken now: to be said every few seconds by each process that takes them."""
    values = {"longest_gap_s": LONGEST_INTAKE_GAP_S, "overdue_s": ALARM_AFTER_S, "most": STUCK_COUNTED}
    found = (await session.execute(BEAT, values)).one()
    return Ailments(stuck_messages=found.stuck, unowned_machines=found.unowned, alarms=found.alarms)
