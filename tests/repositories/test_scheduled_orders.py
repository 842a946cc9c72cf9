"""An order of a schedule that meets the end of its resource: whoever is second sees what the first has done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest

from models.base.ids import new_id
from models.contracts.fleet.owner_kinds import INSTANCE
from models.contracts.owner_kinds import OwnerKind
from models.contracts.schedules import ScheduleKind
from models.domain.fleet.operations import OperationKind
from models.domain.identity.principal import Principal
from models.domain.schedules import every
from models.repositories import schedules
from models.repositories.database import Database
from models.repositories.schedule_rows import ScheduleRows
from tests.factories.added_tables import add_tables
from tests.factories.founded import founded
from tests.factories.gadgets import GADGET
from tests.factories.rows import Rows
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase
from tests.workflow.test_owner_kinds import GADGETS

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'orders' AND wait_event_type = 'Lock'"
ENDED = {
    "gadget": "UPDATE gadgets SET status = 'scrapped', ended_at = now() WHERE id = %s",
    "instance": "UPDATE instances SET status = 'terminated', terminated_at = now() WHERE id = %s",
}
KINDS = {
    "gadget": ScheduleKind(kind="gadget.rebuild", owner=GADGET, operation="gadget.build"),
    "instance": ScheduleKind(kind="instance.again", owner=INSTANCE, operation=OperationKind.INSTANCE_REINSTALL),
}


@dataclass(frozen=True)
class Resource:
    """With a schedule, in whose name something is ordered of its owner."""

    kind: ScheduleKind
    id: UUID
    schedule_id: UUID
    worker: Database
    url: str

    @property
    def owner(self) -> OwnerKind:
        return self.kind.owner

    def ordering(self) -> asyncio.Task[str | None]:
        rows = ScheduleRows(self.worker)
        return asyncio.create_task(rows.order(self.kind, self.schedule_id, self.id, new_id()))

    async def until_ordering_waits(self) -> None:
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as looking:
            async with asyncio.timeout(GIVE_UP_S):
                while await (await looking.execute(WAITING)).fetchone() != (1,):
                    await asyncio.sleep(0.02)

    async def ordered(self) -> list[str]:
        async with await psycopg.AsyncConnection.connect(self.url) as looking:
            found = await looking.execute("SELECT status FROM operations WHERE resource_id = %s", [self.id])
            return [status for (status,) in await found.fetchall()]


@pytest.fixture(params=["gadget", "instance"])
async def resource(request: pytest.FixtureRequest, database: TestDatabase) -> AsyncIterator[Resource]:
    principal, kind = await founded(database), KINDS[request.param]
    add_tables(database, words={"operationkind": GADGET.operations})
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(GADGETS)
    resource_id = made(database, principal, kind.owner)
    worker = Database(database.worker, pool_size=1, application_name="orders")
    api = Database(database.api, pool_size=1)
    async with api.tenant(principal.organization_id) as session:
        schedule_id = await schedules.put(session, kind, resource_id, principal.organization_id, every(3600))
    await api.close()
    try:
        yield Resource(kind, resource_id, schedule_id, worker, database.admin)
    finally:
        await worker.close()


def made(database: TestDatabase, principal: Principal, owner: OwnerKind) -> UUID:
    rows = Rows(database)
    try:
        if owner is INSTANCE:
            return rows.machine(principal.organization_id).id
    finally:
        rows.close()
    gadget_id = new_id()
    with psycopg.connect(database.admin) as connection:
        connection.execute(
            "INSERT INTO gadgets (id, organization_id, status) VALUES (%s, %s, 'built')",
            (gadget_id, principal.organization_id),
        )
    return gadget_id


async def test_of_a_resource_that_ends_meanwhile_nothing_is_ordered(resource: Resource) -> None:
    """Its owner has seen what was open, and will not look again."""
    async with await psycopg.AsyncConnection.connect(resource.url) as owner:
        await owner.execute(ENDED[resource.owner.resource_kind], [resource.id])
        ordering = resource.ordering()
        await resource.until_ordering_waits()
        await owner.commit()
    assert await ordering == "over"
    assert await resource.ordered() == []


async def test_a_resource_does_not_end_before_its_owner_can_see_what_is_ordered(resource: Resource) -> None:
    ended = ENDED[resource.owner.resource_kind]
    async with (
        await psycopg.AsyncConnection.connect(resource.url) as holder,
        await psycopg.AsyncConnection.connect(resource.url) as owner,
    ):
        await holder.execute("SELECT 1 FROM schedules WHERE id = %s FOR UPDATE", [resource.schedule_id])
        ordering = resource.ordering()
        await resource.until_ordering_waits()  # it has the resource, and looks at its schedule
        await owner.execute("SET lock_timeout = '50ms'")
        await owner.commit()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await owner.execute(ended, [resource.id])
        await owner.rollback()
        await owner.execute("RESET lock_timeout")
        await owner.commit()
        await holder.commit()
        await owner.execute(ended, [resource.id])
        assert await ordering is None
        seen = await owner.execute("SELECT status FROM operations WHERE resource_id = %s", [resource.id])
        assert await seen.fetchall() == [("pending",)], "and its owner cancels it with the rest"
