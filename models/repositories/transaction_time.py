"""The moment at which a transaction began, by the database's clock: what repositories write and compare with.

Processes have clocks of their own, which may be hours apart. A moment that one of them wrote and another compares is right only
if both are the same clock's, and the one that all of them share is the database's (docs/decisions/0062-one-clock.md).
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

NOW = text("SELECT now()")
_BEGAN_AT = "began_at"


def note(session: AsyncSession, moment: datetime) -> None:
    """What `now()` answered in the session's transaction, which is the session's only one."""
    session.info[_BEGAN_AT] = moment.astimezone(UTC)


async def began_at(session: AsyncSession) -> datetime:
    """`now()` of the transaction, UTC: the same at every call, and what `DEFAULT now()` writes in it.

    A tenant's transaction has heard it already; another one asks once.
    """
    if _BEGAN_AT not in session.info:
        note(session, (await session.execute(NOW)).scalar_one())
    moment: Any = session.info[_BEGAN_AT]
    return moment  # type: ignore[no-any-return]  # `info` holds anything
