"""Rows of one family that somebody holds keep no activity of another from its work, on connections that both have (decision 93)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import bindparam, text
from sqlalchemy.dialects import postgresql
from temporalio.testing import ActivityEnvironment

from models.base.errors import ServiceUnavailable
from models.base.ids import new_id
from models.contracts.fleet.instances import AwaitDrained, InstanceKey
from models.contracts.task_queues import TaskQueue
from models.repositories.database import Database, Query
from models.settings import Settings
from tests.factories.founded import founded
from tests.factories.gadgets import GADGET
from tests.factories.rows import Rows
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase
from tests.workflow.test_owner_kinds import GADGETS
from workers import composition
from workers.databases import Databases
from workers.family import Activity, QueueRegistration, WorkerFamily, WorkerObjects
from workers.registry import FAMILIES, OWNER_KINDS

CALLS = 30
MOST, MOST_UPKEEP = 8, 1
"""Of ten connections, and of the two for upkeep, what one family may have while no other uses any."""
KEEP = text(GADGET.rows.kept_open).bindparams(bindparam("ids", type_=postgresql.ARRAY(postgresql.UUID)))
WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = %s AND wait_event_type = 'Lock'"
)


class Gadgets:
    """Activities of a family that has no connections of its own: each needs a row of its table."""

    def __init__(self, objects: WorkerObjects, gadget_id: UUID) -> None:
        self._objects, self._id = objects, gadget_id

    async def look(self) -> None:
        await self._hold(self._objects.databases.activities)

    async def keep_up(self) -> None:
        await self._hold(self._objects.databases.upkeep)

    async def _hold(self, database: Database) -> None:
        async with database.system() as session:
            await session.execute(KEEP, {**GADGET.rows.values, "ids": [self._id]})


@pytest.fixture
async def objects(database: TestDatabase, tmp_path: Path) -> AsyncIterator[WorkerObjects]:
    """Those of a worker that serves every family, without an engine."""
    settings = Settings(home=tmp_path, database_url_worker=SecretStr(database.worker))
    databases, nobody = Databases.of(settings), cast("Any", None)
    yield WorkerObjects(
        settings=settings,
        installation_key=b"0" * 32,
        client=nobody,
        owner_kinds=OWNER_KINDS,
        databases=databases,
        of_families={},
        delivery=nobody,
        dispatcher=nobody,
        blob_store=nobody,
        blobs=nobody,
        http=nobody,
        sweep_steps=(),
    )
    await databases.close()


@pytest.fixture
def gadget_id(database: TestDatabase) -> UUID:
    made = new_id()
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(GADGETS)
        connection.execute(
            "INSERT INTO gadgets (id, organization_id, status) VALUES (%s, %s, 'built')", [made, new_id()]
        )
    return made


@contextmanager
def locked(database: TestDatabase, statement: str, *values: object) -> Iterator[None]:
    """Another session holds what the statement locks."""
    with psycopg.connect(database.admin) as holder:
        holder.execute(statement, values)
        yield
        holder.rollback()


async def until_waiting(database: TestDatabase, purpose: str, connections: int) -> None:
    with psycopg.connect(database.admin, autocommit=True) as admin:
        async with asyncio.timeout(GIVE_UP_S):
            while admin.execute(WAITING, [f"quarterdeck-worker-{purpose}"]).fetchone() != (connections,):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def piled_up(activity: Activity) -> AsyncIterator[None]:
    """Calls of it that are tried again and again, as an engine has it."""

    async def tried() -> None:
        while True:
            with pytest.raises(ServiceUnavailable):
                await activity()

    calls = [asyncio.create_task(tried()) for _ in range(CALLS)]
    try:
        yield
        assert not [call for call in calls if call.done()]
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


def on_records(objects: WorkerObjects, gadget_id: UUID) -> dict[str, Activity]:
    """What a worker serves there with the family added, by name: the root gives each family what it makes its activities of."""

    def served(given: WorkerObjects) -> dict[str, Any]:
        gadgets = Gadgets(given, gadget_id)
        return {TaskQueue.RECORDS: lambda: QueueRegistration(TaskQueue.RECORDS, (), (gadgets.look, gadgets.keep_up))}

    added = WorkerFamily(
        name="gadgets", workflows=(), called_by={}, connections=None, queues=(TaskQueue.RECORDS,), compose=served
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composition, "FAMILIES", (*FAMILIES, added))
        [registration] = composition.queues(objects, {TaskQueue.RECORDS})
    return {activity.__name__: activity for activity in registration.activities}


async def test_activities_of_an_instance_go_on_while_those_of_another_family_wait_for_its_rows(
    objects: WorkerObjects, database: TestDatabase, gadget_id: UUID
) -> None:
    organization_id = (await founded(database)).organization_id
    rows = Rows(database)
    draining = InstanceKey(instance_id=rows.machine(organization_id).id, organization_id=organization_id)
    rows.close()
    activities = on_records(objects, gadget_id)
    with locked(database, "SELECT 1 FROM gadgets FOR UPDATE"):
        async with piled_up(activities["look"]):
            await until_waiting(database, "activities", MOST)
            for _ in range(5):
                request = AwaitDrained(key=draining, timeout_s=GIVE_UP_S)
                async with asyncio.timeout(GIVE_UP_S):
                    assert await ActivityEnvironment().run(activities["await_drained"], request)
            await until_waiting(database, "activities", MOST)


async def test_the_rounds_of_everybody_go_on_while_those_of_one_family_wait(
    objects: WorkerObjects, database: TestDatabase, gadget_id: UUID
) -> None:
    activities = on_records(objects, gadget_id)
    spine = objects.databases.of_family("spine", None)
    with locked(database, "SELECT 1 FROM gadgets FOR UPDATE"):
        async with piled_up(activities["keep_up"]):
            await until_waiting(database, "upkeep", MOST_UPKEEP)
            async with asyncio.timeout(GIVE_UP_S), spine.upkeep.system() as session:
                assert (await session.execute(text("SELECT count(*) FROM unfinished_instances(0)"))).scalar_one() == 0
            await until_waiting(database, "upkeep", MOST_UPKEEP)


async def test_readers_have_shares_too(database: TestDatabase) -> None:
    """A page that people look at takes no lock, and waits for one that a migration has."""
    pool = Database(database.api, pool_size=5, application_name="quarterdeck-worker-readers")
    slow, other = pool.of_family("slow"), pool.of_family("other")

    async def page() -> None:
        await slow.read(new_id(), new_id(), [Query("SELECT id FROM api_keys")])

    with locked(database, "LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE"):
        async with piled_up(page):
            await until_waiting(database, "readers", 4)
            async with asyncio.timeout(GIVE_UP_S):
                [answered] = await other.read(new_id(), new_id(), [Query("SELECT 1")])
            assert answered.rows == [(1,)]
            await until_waiting(database, "readers", 4)
    await pool.close()


async def test_a_family_with_connections_of_its_own_keeps_them(objects: WorkerObjects, database: TestDatabase) -> None:
    own = Database(database.worker, pool_size=3)
    given = composition._given_to(
        replace(FAMILIES[0], name="gadgets", connections=3), replace(objects, of_families={"gadgets": own})
    )
    assert given.databases.activities is own
    assert given.blobs._database is own
    await own.close()
