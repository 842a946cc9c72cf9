"""Rows that their owners project and that nothing else hangs on, read and changed by the columns that every such table has."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, cast
from uuid import UUID

from sqlmodel import SQLModel, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import NotFound
from models.contracts.operations import ActionNote, OpenOperation
from models.contracts.owner_kinds import OwnerKind
from models.contracts.owners import AppliedTo, OwnedSnapshot, OwnerProjection
from models.domain.operations import OPEN, OperationStatus
from models.repositories import action_notes, alarms, approvals, events, operations
from models.repositories.database import Database
from models.repositories.inserting import insert_and_announce
from models.repositories.locking import locked
from models.repositories.transaction_time import began_at
from models.repositories.waiting import held_on, show_hold, show_wait, told_wait
from models.tables.operations import Operation

Snapshot = TypeVar("Snapshot", bound=OwnedSnapshot)


class OwnedColumns(Protocol):
    """What a table must have; `ended_at` is when the status became one that `final` has."""

    id: UUID
    organization_id: UUID
    status: str
    version: int
    last_projection_id: UUID | None
    held_code: str | None
    held_since: datetime | None
    ended_at: datetime | None


class OwnedTable(Generic[Snapshot]):
    """The transactions of the owners of one kind. A snapshot has what the row has by the same name, beside what every one has."""

    def __init__(
        self,
        database: Database,
        owner: OwnerKind,
        table: type[SQLModel],
        snapshot: type[Snapshot],
        *,
        final: Sequence[str],
    ) -> None:
        self._database, self._owner, self._table, self._snapshot = database, owner, table, snapshot
        self._final = final

    async def load(self, resource_id: UUID, organization_id: UUID) -> Snapshot:
        """Raises NotFound."""
        async with self._database.tenant(organization_id) as session:
            row = await self._row(session, resource_id)
            return await self._seen(session, row, await operations.open_on(session, resource_id))

    async def apply(
        self, resource_id: UUID, organization_id: UUID, change: OwnerProjection, **columns: object
    ) -> AppliedTo[Snapshot]:
        """Write the change once, with what hangs on it: operations, the log of actions, what lists are told. `columns` are those
        of the kind; what is None stays as it is. Raises NotFound.
        """
        async with self._database.tenant(organization_id) as session:
            row = await self._row(session, resource_id, lock=True)
            # Locked after the row: who gives one up, or decides what was asked for it, knows the operation and no row of ours.
            pending = await operations.open_on(session, resource_id, lock=True)
            is_repeat = (row.last_projection_id, row.version) == (change.projection_id, change.expected_version + 1)
            if not is_repeat and row.version == change.expected_version:
                pending = await self._write(session, row, change, pending, columns)
                is_repeat = True
            return AppliedTo(applied=is_repeat, snapshot=await self._seen(session, row, pending))

    async def _write(
        self,
        session: AsyncSession,
        row: OwnedColumns,
        change: OwnerProjection,
        pending: list[Operation],
        columns: dict[str, object],
    ) -> list[Operation]:
        """What is still open."""
        now, before = await began_at(session), row.status
        row.version, row.last_projection_id = row.version + 1, change.projection_id
        show_hold(row, change.held)
        for name, value in columns.items():
            if value is not None:
                setattr(row, name, value)
        if row.status in self._final and row.ended_at is None:
            row.ended_at = now
        operations.apply_changes(pending, change.operations, now, result={self._owner.id_field: str(row.id)})
        if row.status in self._final:  # nobody is left who would ever move one
            operations.apply_changes(pending, operations.given_up(pending), now, result={})
        still_open = [operation for operation in pending if operation.status in OPEN]
        for operation in still_open:
            show_hold(operation, change.held)
            if not change.keeps_waiting and operation.status is not OperationStatus.WAITING_APPROVAL:
                show_wait(operation, change.waiting, now)
        await session.flush()
        notes = [*change.actions, *await self._approvals(session, row, change)]
        logs = action_notes.logs_of(
            self._owner, row.id, notes, organization_id=row.organization_id, before=before, after=row.status,
            now=now, details={},
        )  # fmt: skip
        news = [*self._news(row, pending), *approvals.news(row.organization_id, notes)]
        await insert_and_announce(session, row.organization_id, logs, news)
        about = alarms.About(self._owner, row.id, row.organization_id)
        await alarms.follow(session, about, notes, is_over=row.status in self._final)
        return still_open

    async def _approvals(self, session: AsyncSession, row: OwnedColumns, change: OwnerProjection) -> list[ActionNote]:
        asked = await approvals.ask(session, self._owner, row.id, row.organization_id, change.questions)
        return [*asked, *(await approvals.settle_due(session, row.id) if change.settles_due else [])]

    def _news(self, row: OwnedColumns, shown: Sequence[Operation]) -> list[events.NewEvent]:
        """For those who follow an operation, then for those who follow the organization."""
        status = {"status": row.status, "waiting_on": told_wait(shown[0]) if shown else None, "held": row.held_code}
        news = [events.NewEvent(events.operation_stream(each.id), "operation.updated", status) for each in shown]
        organization = events.organization_stream(row.organization_id)
        return [*news, events.NewEvent(organization, f"{self._owner.resource_kind}.updated", {"ids": [str(row.id)]})]

    async def _row(self, session: AsyncSession, resource_id: UUID, *, lock: bool = False) -> OwnedColumns:
        table: Any = self._table
        statement = select(table).where(table.id == resource_id)
        row = (await session.exec(locked(statement) if lock else statement)).one_or_none()
        if row is None:
            kind = self._owner.resource_kind
            raise NotFound(f"the database has no such {kind}", code=f"{kind.upper()}_NOT_FOUND")
        return cast("OwnedColumns", row)

    async def _seen(self, session: AsyncSession, row: OwnedColumns, pending: Sequence[Operation]) -> Snapshot:
        own = {name: getattr(row, name) for name in self._snapshot.model_fields if hasattr(row, name)}
        still_open = [OpenOperation(id=each.id, kind=each.kind, status=each.status) for each in pending]
        return self._snapshot(
            **{
                **own,
                "read_at": await began_at(session),
                "held": held_on(row),
                "operations": still_open,
                "approvals": await approvals.seen_on(session, row.id, pending),
            }
        )
