"""What a worker does for everybody is kept from nobody by a row that somebody holds (decision 63)."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from activities.runtime.failures import to_application_error
from models.base.errors import ServiceUnavailable
from models.base.ids import new_id
from models.contracts.outbox import DeliveryKind
from models.repositories import outbox
from models.repositories.database import Database
from models.repositories.fleet.silent_agents import SilentAgents
from models.repositories.identity import session_limits
from models.repositories.identity.session_limits import OF_ROLE, SessionLimits
from models.settings import Settings
from models.settings.derived import DatabaseRole
from models.tables.fleet.instances import InstanceLiveness
from models.tables.operations import OutboxRow
from tests.factories.founded import founded
from tests.factories.rows import Rows
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase
from workers.databases import Databases

HANG_S = 600.0
SETTINGS = (
    "SELECT current_setting('application_name'), current_setting('lock_timeout'), current_setting('statement_timeout')"
)


@pytest.fixture
async def databases(database: TestDatabase, tmp_path: Path) -> AsyncIterator[Databases]:
    made = Databases.of(Settings(home=tmp_path, database_url_worker=SecretStr(database.worker)))
    yield made
    await made.close()


@dataclass(frozen=True)
class Many:
    """Rows of one organization, of which the first is somebody else's at the moment."""

    rows: Rows
    organization_id: UUID
    worker: Database
    url: str

    @contextmanager
    def first_held(self, table: str, key: str, ids: list[UUID]) -> Iterator[None]:
        with psycopg.connect(self.url) as holder:
            statement = f"SELECT 1 FROM {table} WHERE {key} = %s FOR UPDATE"  # noqa: S608  (the test's own words)
            assert holder.execute(statement, [ids[0]]).fetchall()
            yield
            holder.rollback()

    def messages(self, count: int) -> list[UUID]:
        ids = [new_id() for _ in range(count)]
        with psycopg.connect(self.url) as owner:
            for one in ids:
                owner.execute(
                    "INSERT INTO outbox (id, organization_id, kind, workflow, workflow_id, payload, created_at,"
                    " next_attempt_at, attempts) VALUES (%s, %s, %s, 'Instance', %s, '{}', now(), now(), 0)",
                    [one, self.organization_id, DeliveryKind.COMMAND.value, f"instance/{uuid4()}"],
                )
        return ids

    def silent_instances(self, count: int) -> list[UUID]:
        ids = [self.rows.machine(self.organization_id).id for _ in range(count)]
        with psycopg.connect(self.url) as owner:
            for one in ids:
                owner.execute(
                    "INSERT INTO instance_liveness (instance_id, organization_id, generation, worker_status, registered_at,"
                    " last_heartbeat_at, is_stale, report) VALUES (%s, %s, 1, 'ready', now(), now() - interval '1 h', false, '{}')",
                    [one, self.organization_id],
                )
            owner.execute("UPDATE installation SET intake_since = now() - interval '1 h', intake_seen_at = now()")
        return ids


@pytest.fixture
async def many(database: TestDatabase) -> AsyncIterator[Many]:
    principal = await founded(database)
    rows = Rows(database)
    worker = Database(database.worker, pool_size=1, limits=SessionLimits(lock_wait_s=HANG_S))
    yield Many(rows, principal.organization_id, worker, database.admin)
    await worker.close()
    rows.close()


async def test_messages_are_settled_and_postponed_past_one_that_is_held(many: Many) -> None:
    delivered, failed = many.messages(3), many.messages(2)
    with many.first_held("outbox", "id", delivered), many.first_held("outbox", "id", failed):
        async with many.worker.system() as session:
            await outbox.settle(session, delivered)
            for one in failed:
                assert not await outbox.postpone(session, one, error_code="X", delay_s=60.0)
    found = {row.id: row for row in many.rows.all(OutboxRow)}
    assert [found[one].delivered_at is not None for one in delivered] == [False, True, True]
    assert [found[one].failing_since is not None for one in failed] == [False, True]
    async with many.worker.system() as session:
        await outbox.settle(session, delivered)
    assert all(many.rows.one(OutboxRow, id=one).delivered_at for one in delivered)


async def test_silent_instances_are_marked_past_one_that_is_held(many: Many) -> None:
    silent = many.silent_instances(3)
    agents = SilentAgents(many.worker, stale_s=60.0)
    with many.first_held("instance_liveness", "instance_id", silent):
        assert await agents.mark_stale() == 2
    assert await agents.mark_stale() == 1
    assert await agents.mark_stale() == 0
    assert all(row.is_stale for row in many.rows.all(InstanceLiveness))


async def test_a_limit_that_is_reached_is_tried_again_by_temporal(database: TestDatabase) -> None:
    limits = replace(OF_ROLE[DatabaseRole.WORKER], statement_s=0.1)
    worker = Database(database.worker, pool_size=1, limits=limits)
    with pytest.raises(ServiceUnavailable) as reached:
        async with worker.system() as session:
            await session.execute(text("SELECT pg_sleep(:s)"), {"s": GIVE_UP_S})
    assert reached.value.code == "DATABASE_BUSY"
    assert not to_application_error(reached.value).non_retryable
    await worker.close()


async def test_every_connection_says_what_it_is_for_and_has_the_limits_of_its_role(databases: Databases) -> None:
    shown = {}
    for database in vars(databases).values():
        async with database.system() as session:
            name, lock, statement = (await session.execute(text(SETTINGS))).one()
            shown[name.removeprefix("quarterdeck-worker-")] = (lock, statement)
    assert shown == {"activities": ("10s", "1min"), "outbox": ("10s", "1min"), "upkeep": ("10s", "0")}
    api, worker = OF_ROLE[DatabaseRole.API], OF_ROLE[DatabaseRole.WORKER]
    for one in ("lock_wait_s", "statement_s"):
        assert getattr(worker, one) > getattr(api, one)
    assert session_limits.UPKEEP.statement_s is None


async def test_no_process_has_more_connections_than_documented(databases: Databases, tmp_path: Path) -> None:
    most = sum(database._engine.pool.size() for database in vars(databases).values())
    listener = 1
    assert most + listener == Settings(home=tmp_path).database_pool_size + 4


async def test_the_roles_themselves_have_no_limits(database: TestDatabase) -> None:
    """Who logs in by hand as one of them, or takes a backup, is not ended in the middle of it."""
    with psycopg.connect(database.admin) as admin:
        for role in DatabaseRole:
            assert admin.execute("SELECT rolconfig FROM pg_roles WHERE rolname = %s", [role.value]).fetchone() == (
                None,
            )
    for url in (database.worker, database.api, database.owner):
        with psycopg.connect(url) as by_hand:
            assert by_hand.execute(SETTINGS).fetchone()[1:] == ("0", "0")  # type: ignore[index]
