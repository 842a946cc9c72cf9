"""What keeps an organization from being removed, of whatever kind, and which commands end it (contract decision 18)."""

from dataclasses import dataclass
from itertools import islice
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import Conflict
from models.contracts.owner_kinds import OwnerKinds

MOST_LISTED: Final = 100
"""Of one answer; `count` says how many there are."""


@dataclass(frozen=True, slots=True)
class Blocker:
    resource_kind: str
    resource_id: UUID
    path: str
    ended_by: str
    """The request that ends it."""


async def blockers(session: AsyncSession, kinds: OwnerKinds) -> list[Blocker]:
    """Of the organization whose transaction this is, in the order of the kinds."""
    found = []
    for kind in kinds:
        statement = text(kind.rows.blocking)
        values = {name: value for name, value in kind.rows.values.items() if f":{name}" in kind.rows.blocking}
        ids = (await session.execute(statement, values)).scalars()
        found += [Blocker(kind.resource_kind, one, kind.path_of(one), kind.ended_by(one)) for one in ids]
    return found


async def refuse_while_in_use(session: AsyncSession, kinds: OwnerKinds) -> None:
    """Raises Conflict that lists what is still owned, each with the command that ends it."""
    found = await blockers(session, kinds)
    if not found:
        return
    listed = [
        {"kind": one.resource_kind, "id": str(one.resource_id), "url": one.path, "ended_by": one.ended_by}
        for one in islice(found, MOST_LISTED)
    ]
    raise Conflict(
        f"the organization still owns {len(found)} things that run; end them first",
        code="ORGANIZATION_IN_USE",
        details={"count": len(found), "blockers": listed},
    )
