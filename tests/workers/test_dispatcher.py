"""The dispatcher while the workflow engine is away: what it keeps trying, and when it says that this takes long."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import psycopg
import pytest
from temporalio.client import Client

from activities.runtime.plugin import platform_plugin
from delivery.outbox import OutboxDelivery
from models.contracts.fleet.owner_kinds import OWNER_KINDS
from models.contracts.owner_kinds import OwnerKinds
from models.repositories.database import Database
from tests.factories.founded import founded
from tests.patience import GIVE_UP_S
from tests.servers import TEST_CODEC_KEY, TestDatabase
from workers.dispatcher import Dispatcher
from workers.embedded.ports import free_port

INSERT = """
INSERT INTO outbox (id, organization_id, kind, workflow, workflow_id, payload, created_at, next_attempt_at, attempts, failing_since)
VALUES (%(id)s, %(organization_id)s, 'start', 'Instance', %(workflow_id)s,
    jsonb_build_object('instance_id', %(id)s::text), now(), now(), 0, now() - %(failing_s)s * interval '1 second')
"""
AGAIN = "UPDATE outbox SET next_attempt_at = now()"


@asynccontextmanager
async def dispatching(database: TestDatabase) -> AsyncIterator[None]:
    """A dispatcher whose workflow engine nobody has started."""
    worker = Database(database.worker, pool_size=5)
    client = await Client.connect(f"127.0.0.1:{free_port()}", lazy=True, plugins=[platform_plugin(TEST_CODEC_KEY)])
    dispatcher = Dispatcher(
        worker, database.worker, OutboxDelivery(client, OwnerKinds(OWNER_KINDS), api_url="http://api.invalid")
    )
    task = asyncio.create_task(dispatcher.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await worker.close()


async def attempts(sql: psycopg.AsyncConnection[tuple[int, int]], at_least: int) -> tuple[int, int]:
    """Fewest attempts of a message, and the number of alarms, once every message had so many."""
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            await sql.execute(AGAIN)
            await sql.execute("SELECT pg_notify('outbox', 'again')")
            found = await (await sql.execute("SELECT min(attempts), count(alarmed_at) FROM outbox")).fetchone()
            assert found is not None
            if found[0] >= at_least:
                return found
            await asyncio.sleep(0.05)


async def test_each_message_is_one_error_when_it_has_failed_for_ten_minutes(
    database: TestDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    organization_id = (await founded(database)).organization_id
    old, young = [uuid4(), uuid4()], [uuid4()]
    caplog.set_level(logging.ERROR, "workers.dispatcher")
    async with await psycopg.AsyncConnection.connect(database.admin, autocommit=True) as sql:
        for message_id in (*old, *young):
            values = {"id": message_id, "organization_id": organization_id, "workflow_id": f"instance/{message_id}"}
            await sql.execute(INSERT, {**values, "failing_s": 601 if message_id in old else 300})
        async with dispatching(database), dispatching(database):
            assert (await attempts(sql, 4))[1] == len(old)
        logged = await (await sql.execute("SELECT count(*) FROM action_logs WHERE action_type = 'ALARM'")).fetchone()
    said = [record.getMessage() for record in caplog.records if record.name == "workers.dispatcher"]
    assert sorted(said) == sorted(
        f"message {message_id} to instance/{message_id} cannot be delivered for 10 minutes (TEMPORAL_UNAVAILABLE); "
        "it is tried again until it is"
        for message_id in old
    )
    assert logged == (len(old),)


async def test_a_message_that_names_nothing_holds_up_no_other(
    database: TestDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    organization_id = (await founded(database)).organization_id
    strange, plain = uuid4(), uuid4()
    async with await psycopg.AsyncConnection.connect(database.admin, autocommit=True) as sql:
        for message_id in (strange, plain):
            values = {"id": message_id, "organization_id": organization_id, "workflow_id": f"instance/{message_id}"}
            await sql.execute(INSERT, {**values, "failing_s": 700})
        await sql.execute(
            "UPDATE outbox SET payload = jsonb_build_object('operation_id', 'none') WHERE id = %s", (strange,)
        )
        async with dispatching(database):
            await attempts(sql, 3)
        alarmed = await (await sql.execute("SELECT id FROM outbox WHERE alarmed_at IS NOT NULL")).fetchall()
    assert alarmed == [(plain,)]
    assert f"message {strange} has no alarm (DataError)" in caplog.text
