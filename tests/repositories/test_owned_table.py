"""What an owner projects beside those who decide about its operations at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import psycopg
import pytest

from models.base.ids import new_id
from models.contracts.fleet.owner_kinds import INSTANCE
from models.contracts.operations import OperationChange
from models.contracts.owners import AppliedTo, OwnedSnapshot, OwnerProjection
from models.domain.operations import OperationStatus
from models.repositories.database import Database
from models.repositories.owned_table import OwnedTable
from models.tables.fleet.instances import Instance
from models.tables.operations import Operation
from tests.factories.founded import founded
from tests.factories.rows import Rows
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'owner' AND wait_event_type = 'Lock'"


@dataclass(frozen=True)
class Owned:
    """A row, an operation on it of which a person is asked, and the transactions of its owner."""

    rows: Rows
    row: Instance
    operation: Operation
    table: OwnedTable[OwnedSnapshot]
    url: str

    async def project(self, status: OperationStatus) -> AppliedTo[OwnedSnapshot]:
        change = OwnerProjection(
            projection_id=new_id(),
            expected_version=self.row.version,
            operations=[OperationChange(kind=self.operation.kind, status=status)],
        )
        return await self.table.apply(self.row.id, self.row.organization_id, change)

    async def until_waiting(self) -> None:
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as looking:
            async with asyncio.timeout(GIVE_UP_S):
                while await (await looking.execute(WAITING)).fetchone() != (1,):
                    await asyncio.sleep(0.02)


@pytest.fixture
async def owned(database: TestDatabase) -> AsyncIterator[Owned]:
    """Of the rows of instances, as of any table that has the columns."""
    principal = await founded(database)
    rows, worker = Rows(database), Database(database.worker, pool_size=1, application_name="owner")
    row = rows.machine(principal.organization_id)
    operation = rows.operation(row, status=OperationStatus.WAITING_APPROVAL)
    table = OwnedTable(worker, INSTANCE, Instance, OwnedSnapshot, final=[])
    try:
        yield Owned(rows, row, operation, table, database.admin)
    finally:
        await worker.close()
        rows.close()


@pytest.mark.parametrize("status", [OperationStatus.RUNNING, OperationStatus.FAILED])
async def test_an_operation_that_is_given_up_meanwhile_stays_given_up(owned: Owned, status: OperationStatus) -> None:
    """Who gives it up has a lock on the operation and on nothing else."""
    async with await psycopg.AsyncConnection.connect(owned.url) as person:
        await person.execute(
            "UPDATE operations SET status = 'cancelled', completed_at = now() WHERE id = %s", [owned.operation.id]
        )
        projecting = asyncio.create_task(owned.project(status))
        await owned.until_waiting()
        await person.commit()
    applied = await projecting
    assert applied.applied
    assert applied.snapshot.operations == [], "its owner sees that it is over"
    kept = owned.rows.one(Operation, id=owned.operation.id)
    assert (kept.status, kept.error_code) == (OperationStatus.CANCELLED, None)


async def test_one_that_a_person_has_let_go_on_meanwhile_goes_on(owned: Owned) -> None:
    async with await psycopg.AsyncConnection.connect(owned.url) as person:
        await person.execute("UPDATE operations SET status = 'running' WHERE id = %s", [owned.operation.id])
        projecting = asyncio.create_task(owned.project(OperationStatus.SUCCEEDED))
        await owned.until_waiting()
        await person.commit()
    assert (await projecting).snapshot.operations == []
    assert owned.rows.one(Operation, id=owned.operation.id).status is OperationStatus.SUCCEEDED
