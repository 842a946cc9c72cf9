"""Two kinds of owners side by side, whose resources have one and the same id: each is told, missed and brought back as what it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy.exc import ProgrammingError
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from activities.runtime.plugin import platform_plugin
from activities.sweeper import SweeperActivities
from delivery.outbox import OutboxDelivery
from models.base.clock import utc_now
from models.base.errors import ServiceUnavailable
from models.base.ids import new_id
from models.contracts.fleet.owner_kinds import INSTANCE
from models.contracts.outbox import DeliveryKind, OutboxMessage
from models.contracts.owner_kinds import OwnerKind, OwnerKinds
from models.contracts.search_attributes import RESOURCE_ID, RESOURCE_KIND, SURFACE
from models.contracts.sweeper import SweepInput, SweepResult
from models.domain.identity.principal import Principal
from models.repositories.database import Database
from models.repositories.sweeper_rows import SweeperRows
from tests.factories.founded import founded
from tests.factories.gadgets import BOTH, GADGET, GadgetStandIn, InstanceStandIn
from tests.factories.rows import Rows
from tests.patience import GIVE_UP_S
from tests.servers import TEST_CODEC_KEY, TestDatabase
from workers.embedded.temporal import TemporalServer

START, COMMAND, OBSERVED = DeliveryKind

GADGETS = """
CREATE TABLE gadgets (
    id uuid PRIMARY KEY, organization_id uuid NOT NULL, status text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now() - interval '1 minute', ended_at timestamptz
)
"""


@dataclass
class Two:
    """An instance and a gadget of one id, in a database and with owners of their own."""

    id: UUID
    principal: Principal
    client: Client
    worker: Database
    rows: Rows
    sql: psycopg.AsyncConnection[tuple[Any, ...]]

    def __post_init__(self) -> None:
        self.delivery = OutboxDelivery(self.client, BOTH, api_url="http://api.invalid")

    def handle(self, kind: OwnerKind) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(kind.workflow_id(self.id))

    async def said(self, kind: OwnerKind) -> list[str]:
        """What the owner was told: its start, and the rest in its order."""
        found: list[str] = await self.handle(kind).query("said")
        return found

    def message(self, kind: OwnerKind, delivery: DeliveryKind, **payload: object) -> OutboxMessage:
        workflow_id = kind.workflow_id(self.id)
        return OutboxMessage(new_id(), self.principal.organization_id, delivery, kind.workflow, workflow_id, payload)

    async def start(self, kind: OwnerKind) -> None:
        await self.delivery.deliver(self.message(kind, START))

    async def sweep(self, **steps: Callable[[], Awaitable[int]]) -> SweepResult:
        rows = SweeperRows(self.worker, events_kept_s=3600.0)
        sweeper = SweeperActivities(rows, self.client, self.delivery, BOTH, steps)
        result = await ActivityEnvironment().run(sweeper.sweep, SweepInput())
        assert isinstance(result, SweepResult)
        return result

    def instance(self) -> None:
        """Its row, which needs its owner."""
        an_hour_ago = utc_now() - timedelta(hours=1)
        self.rows.machine(self.principal.organization_id, id=self.id, created_at=an_hour_ago)

    async def gadget(self, status: str, ended_s: float | None = None) -> None:
        """Its row; `ended_s` is how long ago it ended."""
        await self.sql.execute(
            "INSERT INTO gadgets (id, organization_id, status, ended_at) "
            "VALUES (%(id)s, %(organization)s, %(status)s, now() - make_interval(secs => %(ended_s)s)) "
            "ON CONFLICT (id) DO UPDATE SET status = excluded.status, ended_at = excluded.ended_at",
            {"id": self.id, "organization": self.principal.organization_id, "status": status, "ended_s": ended_s},
        )

    async def listed(self, *kinds: OwnerKind) -> None:
        """Until visibility shows the owners of these kinds alone."""
        query = f"ExecutionStatus = 'Running' AND ResourceId = '{self.id}'"
        wanted = {kind.workflow_id(self.id) for kind in kinds}
        async with asyncio.timeout(GIVE_UP_S):
            while {one.id async for one in self.client.list_workflows(query)} != wanted:
                await asyncio.sleep(0.05)


@pytest.fixture
async def two(database: TestDatabase, temporal_dev: TemporalServer) -> AsyncIterator[Two]:
    principal = await founded(database)
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(GADGETS)  # as the owner role, whose functions read it
    client = await Client.connect(temporal_dev.address, plugins=[platform_plugin(TEST_CODEC_KEY)])
    worker, rows = Database(database.worker, pool_size=2), Rows(database)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(worker.close)
        stack.callback(rows.close)
        for kind, stand_in in ((INSTANCE, InstanceStandIn), (GADGET, GadgetStandIn)):
            await stack.enter_async_context(Worker(client, task_queue=kind.queue, workflows=[stand_in]))
        sql = await stack.enter_async_context(await psycopg.AsyncConnection.connect(database.admin, autocommit=True))
        made = Two(new_id(), principal, client, worker, rows, sql)
        yield made
        for kind in BOTH:
            with suppress(RPCError):
                await made.handle(kind).terminate("the test is over")


async def test_each_owner_hears_what_is_for_it(two: Two) -> None:
    for_instance, for_gadget = new_id(), new_id()
    await two.start(GADGET)
    await two.delivery.deliver(two.message(GADGET, COMMAND, operation_id=str(for_gadget)))
    await two.delivery.deliver(two.message(GADGET, OBSERVED, angle=90, gadget_id=str(two.id)))
    await two.start(INSTANCE)
    await two.delivery.deliver(two.message(INSTANCE, COMMAND, operation_id=str(for_instance)))
    of_today = {"instance_id": str(two.id), "organization_id": str(new_id()), "boot_id": None, "generation": 1}
    await two.delivery.deliver(two.message(INSTANCE, OBSERVED, edge="ready", **of_today))
    begun = f"started for {two.id}"
    assert await two.said(GADGET) == [begun, f"command {for_gadget}", "turned 90"]
    assert await two.said(INSTANCE) == [begun, f"command {for_instance}", "observed ready"]


@pytest.mark.parametrize("kind", [INSTANCE, GADGET], ids=["instance", "gadget"])
async def test_an_operator_sees_what_it_is(two: Two, kind: OwnerKind) -> None:
    await two.delivery.deliver(two.message(kind, COMMAND, operation_id=str(new_id())))
    description = await two.handle(kind).describe()
    attributes = description.typed_search_attributes
    assert [attributes[key] for key in (RESOURCE_KIND, RESOURCE_ID, SURFACE)] == [
        kind.resource_kind, str(two.id), kind.surface,
    ]  # fmt: skip
    link = "http://api.invalid" + kind.path_of(two.id)
    assert await description.memo_value("api") == link
    assert await description.static_summary() == f"{kind.noun} {two.id}"
    assert await description.static_details() == f"[The {kind.noun} in the API]({link})"
    assert description.task_queue == kind.queue


async def test_a_message_that_says_two_things_reaches_nobody(two: Two) -> None:
    """Neither one whose owner this process does not know: another process may."""
    told = two.message(GADGET, COMMAND, operation_id=str(new_id()))
    mixed = OutboxMessage(told.id, told.organization_id, told.kind, INSTANCE.workflow, told.workflow_id, told.payload)
    knows_less = OutboxDelivery(two.client, OwnerKinds([INSTANCE]), api_url="http://api.invalid")
    for delivery, message in ((two.delivery, mixed), (knows_less, told)):
        with pytest.raises(ServiceUnavailable) as refused:
            await delivery.deliver(message)
        assert refused.value.code == "OWNER_UNKNOWN"
    for kind in BOTH:
        with pytest.raises(RPCError):
            await two.handle(kind).describe()


@pytest.mark.parametrize(("lives", "is_missed"), [(GADGET, INSTANCE), (INSTANCE, GADGET)], ids=["instance", "gadget"])
async def test_a_missing_owner_comes_back_beside_one_of_another_kind(
    two: Two, lives: OwnerKind, is_missed: OwnerKind
) -> None:
    two.instance()
    await two.gadget("whole")
    await two.start(lives)
    await two.listed(lives)
    assert (await two.sweep()).owners_restarted == 1
    await two.listed(INSTANCE, GADGET)
    description = await two.handle(is_missed).describe()
    assert await description.static_summary() == f"{is_missed.noun} {two.id}, restarted by the sweeper"
    assert await two.said(is_missed) == [f"started for {two.id}"]
    assert (await two.sweep()).owners_restarted == 0


async def test_an_owner_whose_row_is_over_is_told_to_read_it_and_no_other(two: Two) -> None:
    two.instance()
    await two.gadget("scrapped", 0.0)
    await two.start(INSTANCE)
    await two.start(GADGET)
    await two.listed(INSTANCE, GADGET)
    assert (await two.sweep()).owners_told == 0, "its owner may be about to end"
    await two.gadget("scrapped", 3600.0)
    told = await two.sweep()
    assert (told.owners_told, told.owners_restarted) == (1, 0)
    assert await two.said(GADGET) == [f"started for {two.id}", "reread"]
    assert await two.said(INSTANCE) == [f"started for {two.id}"]


async def test_what_is_broken_of_one_family_keeps_no_other_from_being_swept(two: Two) -> None:
    two.instance()
    await two.sql.execute("ALTER TABLE gadgets RENAME TO gone")
    swept: list[str] = []

    async def broken() -> int:
        raise ServiceUnavailable("away")

    async def fine() -> int:
        swept.append("fine")
        return 1

    with pytest.raises(ProgrammingError):  # the first: of the owners, who come before the steps
        await two.sweep(broken=broken, fine=fine)
    assert swept == ["fine"]
    await two.listed(INSTANCE)


async def test_a_step_that_takes_its_time_keeps_no_owner_waiting(two: Two) -> None:
    """It ends when the owner that was missing is there."""
    two.instance()

    async def slow() -> int:
        await two.listed(INSTANCE)
        return 1

    swept = await two.sweep(slow=slow)
    assert (swept.owners_restarted, swept.found) == (1, {"slow": 1})


def test_kinds_that_could_be_taken_for_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="resource_kind"):
        OwnerKinds([GADGET, GADGET])


def test_an_id_is_of_one_kind_in_one_spelling() -> None:
    one = new_id()
    assert BOTH.owning(f"gadget/{one}") == (GADGET, one)
    assert BOTH.owning(f"instance/{one}") == (INSTANCE, one)
    for other in (f"gadget/{str(one).upper()}", f"gadget/{{{one}}}", f"{one}", f"gadget/instance/{one}", "sweeper", ""):
        assert BOTH.owning(other) is None


async def test_a_sweep_lists_the_owners_of_all_kinds_once(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    two.instance()
    await two.gadget("built")
    for kind in BOTH:
        await two.start(kind)
    await two.listed(*BOTH)
    asked, list_workflows = [], two.client.list_workflows

    def counted(query: str) -> Any:
        asked.append(query)
        return list_workflows(query)

    monkeypatch.setattr(two.client, "list_workflows", counted)
    assert (await two.sweep()).owners_restarted == 0
    assert len(asked) == 1


async def test_a_list_that_fails_has_no_owner_started_anew(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    two.instance()

    async def half(_query: str) -> AsyncIterator[Any]:
        raise RPCError("the list broke off", RPCStatusCode.UNAVAILABLE, b"")
        yield

    monkeypatch.setattr(two.client, "list_workflows", half)
    with pytest.raises(RPCError):
        await two.sweep()
    with pytest.raises(RPCError):
        await two.handle(INSTANCE).describe()
