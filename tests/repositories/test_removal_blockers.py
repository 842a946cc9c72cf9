"""Which rows of which kinds keep an organization from being removed (contract decision 18)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import pytest
from sqlmodel import SQLModel

from models.base.clock import utc_now
from models.base.errors import Conflict
from models.base.ids import new_id
from models.contracts.fleet.owner_kinds import OWNER_KINDS
from models.contracts.owner_kinds import OwnerKinds
from models.domain.fleet.instances.state import InstanceStatus
from models.repositories import removal_blockers
from models.repositories.database import Database
from models.repositories.removal_blockers import refuse_while_in_use
from models.tables.access import ALL, SELECT, tenant_table
from models.tables.columns import moment, primary_key, reference, text
from tests.factories import identity
from tests.factories.added_tables import add_tables
from tests.factories.gadgets import BOTH
from tests.factories.rows import Rows
from tests.factories.seeded import seed_catalogue
from tests.servers import TestDatabase

S = InstanceStatus


class Gadget(SQLModel, table=True):
    __tablename__ = "gadgets"
    __table_args__ = tenant_table(api={SELECT: ALL})

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id")
    status: str = text()
    created_at: datetime = moment(default_now=True)
    ended_at: datetime | None = moment(nullable=True)


async def refusal(database: TestDatabase, organization_id: UUID, kinds: OwnerKinds = BOTH) -> Conflict | None:
    api = Database(database.api)
    try:
        async with api.tenant(organization_id) as session:
            await refuse_while_in_use(session, kinds)
    except Conflict as error:
        return error
    finally:
        await api.close()
    return None


async def test_what_runs_is_listed_with_the_command_that_ends_it(database: TestDatabase):
    add_tables(database, Gadget.__table__)  # type: ignore[attr-defined]
    await seed_catalogue(database)
    rows, organization, other = Rows(database), identity.organization("Acme"), identity.organization("Other")
    rows.add(organization, other)
    assert await refusal(database, organization.id) is None
    running = [
        rows.instance(organization.id, S.READY, create_attempted_at=utc_now()),
        rows.instance(organization.id, S.PROVISIONING),
        rows.instance(organization.id, S.FAILED, create_attempted_at=utc_now()),
    ]
    rows.instance(organization.id, S.TERMINATED, create_attempted_at=utc_now())
    rows.instance(organization.id, S.PROVISIONING_FAILED)
    rows.instance(other.id, S.READY, create_attempted_at=utc_now())
    gadgets = [Gadget(id=new_id(), organization_id=organization.id, status=status) for status in ("whole", "scrapped")]
    rows.add(*gadgets)
    rows.close()
    refused = await refusal(database, organization.id)
    assert refused is not None
    assert (refused.code, refused.details["count"]) == ("ORGANIZATION_IN_USE", 4)
    listed = refused.details["blockers"]
    assert isinstance(listed, list)
    assert {one["ended_by"] for one in listed} == {
        *(f"DELETE /instances/{one.id}" for one in running), f"DELETE /toys/gadgets/{gadgets[0].id}",
    }  # fmt: skip
    assert {one["kind"] for one in listed} == {"instance", "gadget"}


async def test_a_long_list_is_cut_and_counted(database: TestDatabase, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(removal_blockers, "MOST_LISTED", 1)
    await seed_catalogue(database)
    rows, organization = Rows(database), identity.organization("Acme")
    rows.add(organization)
    for _ in range(3):
        rows.instance(organization.id, S.READY, create_attempted_at=utc_now())
    rows.close()
    refused = await refusal(database, organization.id, OwnerKinds(OWNER_KINDS))
    assert refused is not None
    listed = refused.details["blockers"]
    assert isinstance(listed, list)
    assert (refused.details["count"], len(listed)) == (3, 1)
