"""The sweeper's questions to the database, across all organizations."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Double, Text, bindparam, text
from sqlalchemy.dialects import postgresql
from sqlmodel import select

from models.contracts.owner_kinds import OwnerKind
from models.repositories.database import Database
from models.tables.installation import Installation

MARK = text("UPDATE installation SET sweep_mark = :mark, sweep_marked_at = now()")
PURGE = text("SELECT purge_expired(:delivered_kept_s, :events_kept_s, :kinds, :kept_s)").bindparams(
    bindparam("kinds", type_=postgresql.ARRAY(Text)), bindparam("kept_s", type_=postgresql.ARRAY(Double))
)

DELIVERED_KEPT_S = 7 * 86_400.0

_IDS = postgresql.ARRAY(postgresql.UUID)


@dataclass(frozen=True)
class Unfinished:
    """A row that needs an owner."""

    resource_id: UUID
    organization_id: UUID
    provider_code: str | None


class SweeperRows:
    """`events_kept_by_stream` are seconds for kinds of streams that are kept for another time than `events_kept_s`."""

    def __init__(
        self, database: Database, *, events_kept_s: float, events_kept_by_stream: Mapping[str, float] | None = None
    ) -> None:
        self._database, self._events_kept_s = database, events_kept_s
        self._by_stream = dict(events_kept_by_stream or {})

    async def unfinished(self, kind: OwnerKind, *, older_than_s: float) -> list[Unfinished]:
        """Every row of the kind that needs an owner and is older than that."""
        async with self._database.system() as session:
            values = {**kind.rows.values, "older_than_s": older_than_s}
            rows = await session.execute(text(kind.rows.unfinished), values)
            return [Unfinished(row.resource_id, row.organization_id, row.provider_code) for row in rows]

    async def not_in_need(self, kind: OwnerKind, owned: Collection[UUID], *, settled_s: float) -> set[UUID]:
        """Those of these resources that need no owner: they have no row, or one that is over since `settled_s`."""
        if not owned:
            return set()
        statement = text(kind.rows.without_need).bindparams(bindparam("ids", type_=_IDS))
        async with self._database.system() as session:
            rows = await session.execute(statement, {**kind.rows.values, "ids": list(owned), "settled_s": settled_s})
            return {row.resource_id for row in rows}

    async def bears_mark(self, mark: UUID | None) -> bool:
        """Whether the database bears this one. One that was never marked bears None."""
        async with self._database.system() as session:
            return (await session.exec(select(Installation.sweep_mark))).one() == mark

    async def delivered_since_mark(self) -> set[str]:
        """Ids of the workflows that a message of the outbox reached since the mark."""
        async with self._database.system() as session:
            return set((await session.execute(text("SELECT workflow_id FROM delivered_since_mark()"))).scalars())

    async def mark(self, mark: UUID) -> None:
        async with self._database.system() as session:
            await session.execute(MARK, {"mark": mark})

    async def purge(self) -> int:
        """Rows whose time is over: delivered messages, old events, expired idempotency keys."""
        kept = {
            "delivered_kept_s": DELIVERED_KEPT_S,
            "events_kept_s": self._events_kept_s,
            "kinds": [*self._by_stream],
            "kept_s": [*self._by_stream.values()],
        }
        async with self._database.system() as session:
            return int((await session.execute(PURGE, kept)).scalar_one())
