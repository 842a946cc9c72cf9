"""What an API process tells the database every few seconds and hears back, in one round trip."""

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.liveness import LONGEST_INTAKE_GAP_S
from models.repositories.outbox import ALARM_AFTER_S

STUCK_COUNTED = 1000
"""Of each kind of stuck message no more than so many are counted."""

BEAT = text("SELECT note_heartbeat_intake(:longest_gap_s), count_stuck_messages(:overdue_s, :most) AS stuck")


async def beat(session: AsyncSession) -> int:
    """Heartbeats are taken now: to be said every few seconds by each process that takes them.

    Returns the number of messages, of all organizations, that have an alarm or that nobody takes up.
    """
    values = {"longest_gap_s": LONGEST_INTAKE_GAP_S, "overdue_s": ALARM_AFTER_S, "most": STUCK_COUNTED}
    stuck: int = (await session.execute(BEAT, values)).one().stuck
    return stuck
