"""What the owner writes when it writes again: a repeat, another change under the same id, the bill of a machine never seen."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from models.base.clock import utc_now
from models.contracts.fleet.instances import InstanceKey, Projection
from models.contracts.operations import Held, Waiting
from models.domain.fleet.instances.machines import Ended, Volume
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.fleet.placement.decision import Wish
from models.domain.holds import HoldCode
from models.domain.identity.principal import Principal
from models.domain.identity.roles import Role
from models.repositories.database import Database
from models.repositories.fleet import deployments
from models.repositories.fleet.deployments import Order
from models.repositories.fleet.instances import commands as instance_commands
from models.repositories.fleet.instances.projection import OwnerLimits
from models.repositories.fleet.instances.rows import InstanceRows
from tests.factories.founded import founded
from tests.servers import TestDatabase

LIMITS = OwnerLimits(
    startup_timeout_s=60.0, drain_timeout_s=1.0, stale_s=10.0, unavailable_wait_s=1.0, installation_key=b"k" * 32
)


@pytest.fixture
async def ordered(database: TestDatabase) -> AsyncIterator[tuple[InstanceRows, InstanceKey]]:
    """An instance that was just ordered, and its owner's transactions."""
    principal = await founded(database)
    worker, api = Database(database.worker, pool_size=2), Database(database.api, pool_size=1)
    try:
        yield await _order(worker, api, principal)
    finally:
        await worker.close()
        await api.close()


async def _order(worker: Database, api: Database, principal: Principal) -> tuple[InstanceRows, InstanceKey]:
    async with api.tenant(principal.organization_id) as session:
        placed = await deployments.place(session, principal, Order(Wish(model_name="mock-echo-model")))
    key = InstanceKey(instance_id=placed.instance_id, organization_id=principal.organization_id)
    return InstanceRows(worker, LIMITS, heartbeat_interval_s=4.0), key


def change(key: InstanceKey, projection_id: UUID, version: int, on: str) -> Projection:
    return Projection(key=key, projection_id=projection_id, expected_version=version, waiting=Waiting(code=on))


async def test_a_repeat_is_applied_once(ordered: tuple[InstanceRows, InstanceKey]) -> None:
    rows, key = ordered
    version = (await rows.load(key)).version
    repeated = change(key, uuid4(), version, "the first")
    first, second = await rows.apply(repeated), await rows.apply(repeated)
    assert (first.applied, second.applied) == (True, True)
    assert first.snapshot.version == second.snapshot.version == version + 1


async def test_another_change_under_the_same_id_is_no_repeat(
    ordered: tuple[InstanceRows, InstanceKey], database: TestDatabase
) -> None:
    """A workflow task that was lost draws the same ids again, and having read the row decides on something else."""
    rows, key = ordered
    projection_id = uuid4()
    applied = await rows.apply(change(key, projection_id, (await rows.load(key)).version, "the first"))
    other = await rows.apply(change(key, projection_id, applied.snapshot.version, "the second"))
    assert other.applied
    assert other.snapshot.version == applied.snapshot.version + 1
    with psycopg.connect(database.admin) as connection:
        assert connection.execute("SELECT waiting_on FROM instances").fetchall() == [("the second",)]


async def test_a_word_of_a_hold_leaves_the_wait_and_any_other_word_without_one_ends_it(
    ordered: tuple[InstanceRows, InstanceKey], database: TestDatabase
) -> None:
    rows, key = ordered
    held = Held(code=HoldCode.PROVIDER_AUTH, since=utc_now() - timedelta(hours=1))
    until = utc_now() + timedelta(hours=1)
    waiting = Waiting(code="the machine", until=until)
    shown = []
    for word in ({"waiting": waiting}, {"held": held, "keeps_waiting": True}, {"held": held}, {"waiting": waiting}):
        version = (await rows.load(key)).version
        projection = Projection.model_validate(
            {"key": key, "projection_id": uuid4(), "expected_version": version, **word}
        )
        snapshot = (await rows.apply(projection)).snapshot
        with psycopg.connect(database.admin) as connection:
            for table in ("instances", "operations"):
                statement = f"SELECT waiting_on, waiting_until, held_code, held_since FROM {table}"  # noqa: S608
                shown += [(snapshot.held, *row) for row in connection.execute(statement).fetchall()]
    assert shown == [
        *[(None, "the machine", until, None, None)] * 2,
        *[(held, "the machine", until, "PROVIDER_AUTH", held.since)] * 2,
        *[(held, None, None, "PROVIDER_AUTH", held.since)] * 2,
        *[(None, "the machine", until, None, None)] * 2,
    ]


async def test_an_owner_of_before_that_knows_no_hold_ends_it(
    ordered: tuple[InstanceRows, InstanceKey], database: TestDatabase
) -> None:
    rows, key = ordered
    with psycopg.connect(database.admin) as connection:
        connection.execute("UPDATE instances SET held_code = 'INTERNAL', held_since = now()")
    assert (await rows.load(key)).held is not None
    applied = await rows.apply(change(key, uuid4(), (await rows.load(key)).version, "the machine"))
    assert applied.snapshot.held is None


async def test_what_is_terminated_before_it_was_begun_is_not_held(
    ordered: tuple[InstanceRows, InstanceKey], database: TestDatabase
) -> None:
    rows, key = ordered
    held = Held(code=HoldCode.INTERNAL, since=utc_now())
    version = (await rows.load(key)).version
    await rows.apply(
        Projection(key=key, projection_id=uuid4(), expected_version=version, held=held, keeps_waiting=True)
    )
    with psycopg.connect(database.admin) as connection:
        user_id = connection.execute("SELECT created_by_user_id FROM instances").fetchone()
    assert user_id is not None
    principal = Principal(user_id=user_id[0], organization_id=key.organization_id, role=Role.OWNER)
    api = Database(database.api, pool_size=1)
    async with api.tenant(key.organization_id) as session:
        assert (await instance_commands.terminate(session, principal, key.instance_id)).status == "terminated"
    await api.close()
    with psycopg.connect(database.admin) as connection:
        kept = connection.execute(
            "SELECT held_code FROM instances UNION ALL SELECT held_code FROM operations"
        ).fetchall()
    assert kept == [(None,)] * 3


async def test_a_machine_that_ended_before_it_was_seen_has_its_bill(
    ordered: tuple[InstanceRows, InstanceKey], database: TestDatabase
) -> None:
    rows, key = ordered
    until = utc_now()
    ended = Ended(provider_id="unseen", billed_from=until - timedelta(seconds=90), billed_until=until)
    never_billed = Ended(provider_id="never-billed")
    for _ in range(2):
        version = (await rows.load(key)).version
        await rows.apply(
            Projection(key=key, projection_id=uuid4(), expected_version=version, ended=[ended, never_billed])
        )
    with psycopg.connect(database.admin) as connection:
        bills = connection.execute("SELECT provider_resource_id, opened_at, closed_at FROM billing_segments").fetchall()
    assert bills == [("unseen", ended.billed_from, ended.billed_until)]


async def test_a_volume_that_is_to_be_kept_stays_and_is_paid_for(
    ordered: tuple[InstanceRows, InstanceKey], database: TestDatabase
) -> None:
    rows, key = ordered
    volumes = [
        Volume(
            provider_volume_id=name, name=name, volume_type="ssd", size_gb=20, is_boot=name == "boot",
            delete_on_terminate=name != "data", attached_to="machine", created_at=utc_now(), billed_from=utc_now(),
            price_eur_per_hour="0.01",
        )
        for name in ("boot", "data")
    ]  # fmt: skip
    for status, found in ((InstanceStatus.TERMINATING, volumes), (InstanceStatus.TERMINATED, [])):
        version = (await rows.load(key)).version
        applied = await rows.apply(
            Projection(key=key, projection_id=uuid4(), expected_version=version, status=status, volumes=found)
        )
        assert applied.applied
    with psycopg.connect(database.admin) as connection:
        shown = connection.execute(
            "SELECT v.provider_volume_id, v.status, v.deleted_at IS NULL, b.closed_at IS NULL FROM instance_volumes v "
            "JOIN billing_segments b ON b.provider_resource_id = v.provider_volume_id ORDER BY 1"
        ).fetchall()
    assert shown == [("boot", "deleted", False, False), ("data", "detached", True, True)]
