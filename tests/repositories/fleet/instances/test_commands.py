"""Commands that meet on one instance: whoever gets the row second decides by what the first one left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from models.base.errors import Conflict
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.fleet.operations import OperationKind
from models.domain.identity.principal import Principal
from models.domain.operations import OperationStatus
from models.repositories import operations
from models.repositories.database import Database
from models.repositories.fleet.instances import commands as instance_commands
from models.tables.fleet.instances import Instance
from models.tables.operations import Operation
from tests.factories.founded import founded
from tests.factories.rows import Rows
from tests.servers import TestDatabase

K, O, S = OperationKind, OperationStatus, InstanceStatus

WAITS_FOR_A_LOCK = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
async def principal(database: TestDatabase) -> Principal:
    return await founded(database)


@pytest.fixture
async def api(database: TestDatabase) -> AsyncIterator[Database]:
    pool = Database(database.api, pool_size=2)
    yield pool
    await pool.close()


@pytest.fixture
async def rows(database: TestDatabase, principal: Principal) -> AsyncIterator[Rows]:
    written = Rows(database)
    yield written
    written.close()


async def meanwhile(database: TestDatabase, command: Any, instance_id: UUID, *statements: str) -> Any:
    """What the command comes to that had read before, and waits for, a transaction which holds the instance and does these."""
    async with await psycopg.AsyncConnection.connect(database.admin) as other:
        await other.execute("SELECT 1 FROM instances WHERE id = %s FOR NO KEY UPDATE", (instance_id,))
        task = asyncio.ensure_future(command)
        async with await psycopg.AsyncConnection.connect(database.admin, autocommit=True) as watching:
            while True:
                seen = await (await watching.execute(WAITS_FOR_A_LOCK)).fetchone()
                if (seen is not None and seen[0] > 0) or task.done():
                    break
                await asyncio.sleep(0.01)
        assert not task.done(), "the command does not wait for the instance's row"
        for statement in statements:
            await other.execute(statement)
        await other.commit()
    return await task


async def test_a_cancel_that_meets_the_beginning_of_a_reinstall_is_refused(
    database: TestDatabase, api: Database, rows: Rows, principal: Principal
) -> None:
    machine = rows.machine(principal.organization_id)
    reinstall = rows.operation(machine, K.INSTANCE_REINSTALL)

    async def cancel() -> None:
        async with api.tenant(principal.organization_id, principal.user_id) as session:
            await instance_commands.cancel(session, principal, reinstall.id)

    with pytest.raises(Conflict) as refused:
        await meanwhile(database, cancel(), machine.id, "UPDATE operations SET status = 'running', started_at = now()")
    assert refused.value.code == "OPERATION_NOT_CANCELLABLE"
    kept = rows.one(Operation, id=reinstall.id)
    assert (kept.status, kept.cancel_requested_at) == (O.RUNNING, None)


async def test_a_cancel_that_meets_the_end_of_its_operation_is_refused(
    database: TestDatabase, api: Database, rows: Rows, principal: Principal
) -> None:
    machine = rows.machine(principal.organization_id, S.STARTING)
    provision = rows.operation(machine, status=O.RUNNING)

    async def cancel() -> None:
        async with api.tenant(principal.organization_id, principal.user_id) as session:
            await instance_commands.cancel(session, principal, provision.id)

    ended = (
        "UPDATE operations SET status = 'succeeded', completed_at = now()",
        "UPDATE instances SET status = 'ready'",
    )
    with pytest.raises(Conflict) as refused:
        await meanwhile(database, cancel(), machine.id, *ended)
    assert refused.value.code == "OPERATION_FINISHED"
    assert rows.one(Instance, id=machine.id).status is S.READY
    assert rows.all(Operation, resource_id=machine.id, kind=K.INSTANCE_TERMINATE) == []


@pytest.mark.parametrize("command", [instance_commands.terminate, instance_commands.reinstall])
async def test_a_command_that_read_the_instance_before_decides_by_the_row_behind_the_lock(
    database: TestDatabase, api: Database, rows: Rows, principal: Principal, command: Any
) -> None:
    machine = rows.machine(principal.organization_id)

    async def ask() -> Any:
        async with api.tenant(principal.organization_id, principal.user_id) as session:
            before = await session.get(Instance, machine.id)
            assert before is not None
            assert before.status is S.READY
            return await command(session, principal, machine.id)

    over = "UPDATE instances SET status = 'terminated', desired_status = 'terminated', version = version + 1"
    if command is instance_commands.reinstall:
        with pytest.raises(Exception, match="terminated instance cannot be reinstalled"):
            await meanwhile(database, ask(), machine.id, over)
    else:
        commanded = await meanwhile(database, ask(), machine.id, over)
        assert (commanded.status, commanded.operation) == ("terminated", None)
    assert rows.all(Operation, resource_id=machine.id) == []


async def test_an_operation_read_under_lock_is_the_row_and_not_the_memory_of_it(
    database: TestDatabase, api: Database, rows: Rows, principal: Principal
) -> None:
    operation = rows.operation(rows.machine(principal.organization_id), K.INSTANCE_REINSTALL)
    async with api.tenant(principal.organization_id) as session:
        known = await operations.get(session, operation.id)
        seen = [known.status]
        rows.change(operation, status=O.RUNNING)
        assert (await operations.get(session, operation.id, lock=True)) is known
        assert [*seen, known.status] == [O.PENDING, O.RUNNING]
