"""What an API process tells the database every few seconds and hears back, in one round trip."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.sql.functions import Function
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.outbox import ALARM_AFTER_S

STUCK_COUNTED = 1000
"""Of each kind of stuck message no more than so many are counted."""


Calls = Mapping[str, Function[Any]]
"""What a family says and asks in the same round trip: functions of the database (`models/sql`) that count something, or are only
told something, by the name of what is heard.
"""


@dataclass(frozen=True)
class Ailments:
    """What is wrong with the installation, whoever's it is."""

    stuck_messages: int = 0
    """That have an alarm, or that nobody takes up."""
    alarms: Mapping[str, int] = field(default_factory=dict)
    """Those that are open, by code."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Those of families, by the names of their calls; nothing before the first answer."""

    def count(self, name: str) -> int:
        return self.counts.get(name, 0)


async def beat(session: AsyncSession, calls: Calls) -> Ailments:
    """To be said every few seconds by each process of the API."""
    own = func.count_stuck_messages(ALARM_AFTER_S, STUCK_COUNTED), func.count_alarms()
    of_families = [call.label(name) for name, call in calls.items()]
    stuck, open_alarms, *heard = (await session.execute(select(*own, *of_families))).one()
    counts = {name: count for name, count in zip(calls, heard, strict=True) if isinstance(count, int)}
    return Ailments(stuck_messages=stuck, alarms=open_alarms, counts=counts)
