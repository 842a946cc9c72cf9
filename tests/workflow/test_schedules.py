"""Schedules by rows: Temporal's follow them whatever was done to either, and a run asks its row before it orders anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleDescription,
    ScheduleIntervalSpec,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment
from temporalio.worker import Worker

from activities.runtime.plugin import platform_plugin
from activities.scheduled_orders import ScheduledOrderActivities
from activities.schedules import ScheduleActivities
from delivery.outbox import OutboxDelivery
from delivery.schedules import OURS, TemporalSchedules
from models.base.errors import InvalidRequest, NotFound
from models.base.ids import new_id
from models.contracts.outbox import DeliveryKind, OutboxMessage
from models.contracts.schedules import (
    ReconcileSchedules,
    ScheduledOutcome,
    ScheduleKind,
    ScheduleKinds,
    SchedulesReconciled,
    schedule_id_of,
)
from models.contracts.search_attributes import RESOURCE_ID, RESOURCE_KIND, search_attributes
from models.contracts.task_queues import TaskQueue
from models.contracts.workflow_ids import SCHEDULES
from models.domain.identity.principal import Principal
from models.domain.schedules import Overlap, Timing, every
from models.repositories import schedules
from models.repositories.asking import Asked
from models.repositories.database import Database
from models.repositories.schedule_rows import ScheduleRow, ScheduleRows
from models.repositories.sweeper_rows import SweeperRows
from tests.factories.added_tables import add_tables
from tests.factories.founded import founded
from tests.factories.gadgets import BOTH, GADGET
from tests.patience import GIVE_UP_S
from tests.replay.recording import keep_history
from tests.servers import TEST_CODEC_KEY, TestDatabase
from tests.workflow.test_owner_kinds import GADGETS
from workers import registry
from workers.embedded.temporal import TemporalServer
from workers.waking import StandingDelivery
from workflows.scheduled_orders import ScheduledOrderWorkflow
from workflows.schedules import SchedulesWorkflow

BUILD = ScheduleKind(kind="gadget.rebuild", owner=GADGET, operation="gadget.build")
OF_A_FAMILY = ScheduleKind(
    kind="gadget.count", owner=GADGET, workflow="CountGadget", id_prefix="gadget-count/", queue=GADGET.queue
)
KINDS = ScheduleKinds([BUILD, OF_A_FAMILY])
HOURLY = Timing(cron="5 * * * *", time_zone="Europe/Paris")
[STANDING] = [one for one in registry.standing_of([TaskQueue.ORCHESTRATION]) if one.id == SCHEDULES]


@dataclass
class World:
    principal: Principal
    client: Client
    api: Database
    worker: Database
    sql: psycopg.AsyncConnection[tuple[Any, ...]]
    passes: list[SchedulesReconciled] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows = ScheduleRows(self.worker)
        resources = SweeperRows(self.worker, events_kept_s=3600.0)
        self.activities = ScheduleActivities(self.rows, resources, TemporalSchedules(self.client), KINDS)
        self.orders = ScheduledOrderActivities(lambda _owner: self.rows, KINDS)

    async def gadget(self) -> UUID:
        gadget_id = new_id()
        await self.sql.execute(
            "INSERT INTO gadgets (id, organization_id, status) VALUES (%s, %s, 'built')",
            (gadget_id, self.principal.organization_id),
        )
        return gadget_id

    async def put(self, gadget_id: UUID, timing: Timing = HOURLY, kind: ScheduleKind = BUILD, **more: Any) -> UUID:
        organization_id = self.principal.organization_id
        async with self.api.tenant(organization_id) as session:
            return await schedules.put(session, kind, gadget_id, organization_id, timing, **more)

    async def removed(self, gadget_id: UUID) -> None:
        async with self.api.tenant(self.principal.organization_id) as session:
            assert await schedules.remove(session, BUILD, gadget_id)

    async def run_now(self, gadget_id: UUID, kind: ScheduleKind = BUILD) -> Asked:
        async with self.api.tenant(self.principal.organization_id) as session:
            return await schedules.run_now(session, self.principal, kind, gadget_id, status="built")

    async def reconcile(self, number: int = 0) -> SchedulesReconciled:
        result = await ActivityEnvironment().run(self.activities.reconcile_schedules, ReconcileSchedules(round=number))
        assert isinstance(result, SchedulesReconciled)
        return result

    async def said(self, schedule_id: UUID) -> dict[str, Any]:
        """The row."""
        cursor = await self.sql.execute("SELECT to_jsonb(s) FROM schedules s WHERE id = %s", (schedule_id,))
        found = await cursor.fetchone()
        return {} if found is None else found[0]

    async def messages(self) -> list[OutboxMessage]:
        cursor = await self.sql.execute(
            "SELECT id, organization_id, kind, workflow, workflow_id, payload FROM outbox ORDER BY created_at, id"
        )
        return [OutboxMessage(row[0], row[1], DeliveryKind(row[2]), *row[3:]) for row in await cursor.fetchall()]

    def handle(self, schedule_id: UUID) -> Any:
        return self.client.get_schedule_handle(schedule_id_of(schedule_id))

    async def in_temporal(self, schedule_id: UUID) -> ScheduleDescription | None:
        try:
            description: ScheduleDescription = await self.handle(schedule_id).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None
        return description

    async def listed(self, *ids: UUID) -> None:
        """Until the list has these alone."""
        wanted = {schedule_id_of(one) for one in ids}

        async def is_so() -> bool:
            return {one.id async for one in await self.client.list_schedules(OURS)} == wanted

        await until(is_so)


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while not await true():
            await asyncio.sleep(0.05)


@pytest.fixture
async def world(database: TestDatabase, temporal_dev: TemporalServer) -> AsyncIterator[World]:
    principal = await founded(database)
    add_tables(database, words={"operationkind": GADGET.operations})
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(GADGETS)
    client = await Client.connect(temporal_dev.address, plugins=[platform_plugin(TEST_CODEC_KEY)])
    api, worker = Database(database.api, pool_size=4), Database(database.worker, pool_size=4)
    sql = await psycopg.AsyncConnection.connect(database.admin, autocommit=True)
    made = World(principal, client, api, worker, sql)
    try:
        yield made
    finally:
        async for one in await client.list_schedules(OURS):
            with suppress(RPCError):
                await client.get_schedule_handle(one.id).delete()
        with suppress(RPCError):
            await client.get_workflow_handle(SCHEDULES).terminate("the test is over")
        await made.listed()
        for each in (api, worker, sql):
            await each.close()


async def test_a_row_becomes_a_schedule_and_what_is_asked_again_changes_nothing(world: World) -> None:
    gadget_id = await world.gadget()
    schedule_id = await world.put(gadget_id, overlap=Overlap.BUFFER_ONE)
    assert (await world.said(schedule_id))["state"] == "pending"
    assert await world.reconcile() == SchedulesReconciled(created=1)
    row, schedule = await world.said(schedule_id), await world.in_temporal(schedule_id)
    assert (row["state"], row["applied_revision"]) == ("applied", 1)
    assert schedule is not None
    assert schedule.schedule.spec.time_zone_name == "Europe/Paris"
    assert "revision 1 " in str(schedule.schedule.state.note)
    assert schedule.typed_search_attributes[RESOURCE_KIND] == "schedule"
    assert schedule.typed_search_attributes[RESOURCE_ID] == str(schedule_id)
    assert await world.put(gadget_id, overlap=Overlap.BUFFER_ONE) == schedule_id
    assert (await world.said(schedule_id))["revision"] == 1
    await world.listed(schedule_id)
    assert await world.reconcile() == SchedulesReconciled()
    assert len(await world.messages()) == 1, "what changed nothing asks for nothing"


async def test_a_changed_row_changes_its_schedule_and_a_removed_one_takes_it_along(world: World) -> None:
    gadget_id = await world.gadget()
    schedule_id = await world.put(gadget_id)
    await world.reconcile()
    assert await world.put(gadget_id, every(3600), is_paused=True) == schedule_id
    assert await world.reconcile() == SchedulesReconciled(changed=1)
    schedule = await world.in_temporal(schedule_id)
    assert schedule is not None
    assert [one.every for one in schedule.schedule.spec.intervals] == [timedelta(hours=1)]
    assert schedule.schedule.state.paused
    await world.removed(gadget_id)
    assert await world.reconcile() == SchedulesReconciled(deleted=1)
    assert await world.in_temporal(schedule_id) is None
    assert await world.said(schedule_id) == {}
    again = await world.put(gadget_id)
    assert again != schedule_id
    await world.removed(gadget_id)
    assert await world.put(gadget_id) == again, "asked for again before it went"
    assert await world.reconcile() == SchedulesReconciled(created=1)


async def test_what_somebody_does_to_a_schedule_by_hand_is_undone(world: World) -> None:
    kept, deleted, changed = [await world.put(await world.gadget()) for _ in range(3)]
    await world.reconcile()
    await world.listed(kept, deleted, changed)
    before = await world.in_temporal(changed)
    assert before is not None
    await world.handle(deleted).delete()

    def by_hand(now: ScheduleUpdateInput) -> ScheduleUpdate:
        now.description.schedule.spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(days=1))])
        return ScheduleUpdate(now.description.schedule)

    await world.handle(changed).update(by_hand)
    assert await world.reconcile() == SchedulesReconciled(created=1, changed=1)
    after = await world.in_temporal(changed)
    assert after is not None
    assert after.schedule.spec == before.schedule.spec
    await world.handle(kept).pause(note="by hand")
    assert await world.reconcile() == SchedulesReconciled(changed=1)
    assert await world.in_temporal(deleted) is not None
    await world.listed(kept, deleted, changed)
    assert await world.reconcile() == SchedulesReconciled()


async def test_schedules_without_a_row_go_and_those_of_others_stay(world: World) -> None:
    schedule_id = await world.put(await world.gadget())
    await world.reconcile()
    await world.listed(schedule_id)
    foreign = [f"schedule/{new_id()}", f"theirs-{new_id()}"]
    action = ScheduleActionStartWorkflow("Theirs", id="theirs", task_queue="theirs")
    paused = ScheduleState(paused=True)
    marked = search_attributes(resource_kind="schedule", resource_id="theirs", surface="theirs")
    await world.client.create_schedule(foreign[0], Schedule(action, ScheduleSpec(), state=paused))
    await world.client.create_schedule(
        foreign[1], Schedule(action, ScheduleSpec(), state=paused), search_attributes=marked
    )
    try:
        await world.sql.execute("DELETE FROM schedules")
        await until(lambda: _is_listed(world, foreign[1]))
        assert await world.reconcile() == SchedulesReconciled(deleted=1)
        assert await world.in_temporal(schedule_id) is None
        for one in foreign:
            assert await world.client.get_schedule_handle(one).describe()
    finally:
        for one in foreign:
            await world.client.get_schedule_handle(one).delete()


async def _is_listed(world: World, schedule_id: str) -> bool:
    return schedule_id in {one.id async for one in await world.client.list_schedules(OURS)}


async def test_the_schedules_of_a_resource_that_is_over_go_with_it(world: World) -> None:
    over, gone, lives = [await world.gadget() for _ in range(3)]
    ids = {one: await world.put(one) for one in (over, gone, lives)}
    await world.reconcile()
    await world.sql.execute("DELETE FROM gadgets WHERE id = %s", (gone,))
    await world.sql.execute(
        "UPDATE gadgets SET status = 'scrapped', ended_at = now() - interval '1 minute' WHERE id = %s", (over,)
    )
    await world.listed(*ids.values())
    assert await world.reconcile() == SchedulesReconciled(deleted=2)
    assert [await world.said(ids[one]) != {} for one in (over, gone, lives)] == [False, False, True]


async def test_one_that_temporal_refuses_is_said_so_and_holds_up_no_other(world: World) -> None:
    refused = await world.put(await world.gadget(), Timing(cron="61 * * * *"))
    good = await world.put(await world.gadget())
    assert await world.reconcile() == SchedulesReconciled(created=1, refused=1)
    row = await world.said(refused)
    assert (row["state"], row["error_code"], row["applied_revision"]) == ("refused", "SCHEDULE_REFUSED", 0)
    assert (await world.said(good))["state"] == "applied"
    await world.listed(good)
    assert await world.reconcile() == SchedulesReconciled(), "it is not tried again as it is"
    for timing in (Timing(), Timing(cron="* * *"), every(0), Timing(cron="* * * * *", time_zone="Mars/Olympus")):
        with pytest.raises(InvalidRequest):
            await world.put(await world.gadget(), timing)


async def test_a_row_that_changes_while_it_is_told_is_told_again(world: World) -> None:
    gadget_id = await world.gadget()
    schedule_id = await world.put(gadget_id)
    [old] = await world.rows.read()
    await world.put(gadget_id, every(60))
    assert not await world.rows.settle(old, digest="of the first revision")
    assert (await world.said(schedule_id))["state"] == "pending"
    await world.removed(gadget_id)
    [removing] = await world.rows.read()
    await world.put(gadget_id, every(61))
    assert not await world.rows.drop(removing), "it was asked for again"


async def test_of_two_passes_at_once_the_older_one_does_not_have_the_last_word(world: World) -> None:
    """It writes after the newer one has written, before that one looks at what it left."""
    gadget_id = await world.gadget()
    schedule_id = await world.put(gadget_id, every(3600))
    [old] = await world.rows.read()
    await world.put(gadget_id, every(60))
    temporal = TemporalSchedules(world.client)

    class Overtaken(TemporalSchedules):
        async def write(self, row: ScheduleRow, kind: ScheduleKind) -> bool:
            is_new = await super().write(row, kind)
            await temporal.write(old, kind)
            return is_new

    world.activities._schedules = Overtaken(world.client)
    await world.reconcile()
    assert (await world.said(schedule_id))["state"] == "pending"
    world.activities._schedules = temporal
    await world.reconcile()
    schedule = await world.in_temporal(schedule_id)
    assert schedule is not None
    assert [one.every for one in schedule.schedule.spec.intervals] == [timedelta(minutes=1)]
    assert (await world.said(schedule_id))["state"] == "applied"


async def test_a_change_that_is_refused_leaves_nothing_running(world: World) -> None:
    gadget_id = await world.gadget()
    schedule_id = await world.put(gadget_id)
    await world.reconcile()
    [before] = await world.rows.read()
    await world.listed(schedule_id)
    await world.put(gadget_id, Timing(cron="61 * * * *"))
    assert await world.reconcile() == SchedulesReconciled(refused=1)
    assert await world.in_temporal(schedule_id) is None
    await TemporalSchedules(world.client).write(before, BUILD)  # a pass that began before
    await world.listed(schedule_id)
    assert await world.reconcile() == SchedulesReconciled(deleted=1)
    assert await world.in_temporal(schedule_id) is None
    assert (await world.said(schedule_id))["state"] == "refused"


async def test_what_is_being_removed_is_neither_applied_nor_refused(world: World) -> None:
    gadget_id = await world.gadget()
    schedule_id = await world.put(gadget_id)
    await world.removed(gadget_id)
    [removing] = await world.rows.read()
    assert not await world.rows.settle(removing, digest="some")
    assert not await world.rows.settle(removing, error_code="SCHEDULE_REFUSED")
    assert (await world.said(schedule_id))["state"] == "removing"


async def test_nothing_is_ordered_of_a_resource_that_is_over(world: World) -> None:
    over, gone = [await world.gadget() for _ in range(2)]
    ids = {one: await world.put(one) for one in (over, gone)}
    await world.sql.execute("UPDATE gadgets SET status = 'scrapped', ended_at = now() WHERE id = %s", (over,))
    await world.sql.execute("DELETE FROM gadgets WHERE id = %s", (gone,))
    for one, schedule_id in ids.items():
        assert await world.rows.order(BUILD, schedule_id, one, new_id()) == "over"
    cursor = await world.sql.execute("SELECT id FROM operations")
    assert await cursor.fetchall() == []


async def test_a_server_without_schedules_holds_nothing_up(
    world: World, temporal_time_skipping: WorkflowEnvironment
) -> None:
    """The one that skips time has none."""
    await world.put(await world.gadget())
    world.activities._schedules = TemporalSchedules(temporal_time_skipping.client)
    assert await world.reconcile() == SchedulesReconciled(error_code="UNIMPLEMENTED")


async def test_more_than_one_pass_compares_take_turns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.schedules.COMPARED_PER_PASS", 2)
    ids = [await world.put(await world.gadget()) for _ in range(4)]
    await world.reconcile()
    await world.listed(*ids)
    for one in ids:
        await world.handle(one).pause(note="by hand")
    assert [await world.reconcile(number) for number in range(3)] == [
        SchedulesReconciled(changed=2), SchedulesReconciled(changed=2), SchedulesReconciled(),
    ]  # fmt: skip


async def test_a_run_orders_once_and_only_what_its_row_still_says(world: World) -> None:
    gadget_id = await world.gadget()
    schedule_id = await world.put(gadget_id)
    first, second = new_id(), new_id()

    async def order(operation_id: UUID) -> str | None:
        return await world.rows.order(BUILD, schedule_id, gadget_id, operation_id)

    assert [await order(first), await order(first), await order(second)] == [None, None, "under way"]
    cursor = await world.sql.execute("SELECT id, kind, status, workflow_id FROM operations")
    assert await cursor.fetchall() == [(first, "gadget.build", "pending", f"gadget/{gadget_id}")]
    [ordered] = [one for one in await world.messages() if one.workflow == "Gadget"]
    assert ordered.payload == {"gadget_id": str(gadget_id), "operation_id": str(first)}
    await world.sql.execute("UPDATE operations SET status = 'succeeded'")
    await world.put(gadget_id, is_paused=True)
    assert await order(second) == "paused"
    await world.removed(gadget_id)
    assert await order(second) == "removed"
    await world.sql.execute("DELETE FROM schedules")
    assert await order(second) == "removed"


async def test_what_is_run_now_is_ordered_in_the_request_and_once(world: World) -> None:
    """Beside a run of the schedule there is one order, whichever came first; where there is no schedule there is none."""
    gadget_id = await world.gadget()
    with pytest.raises(NotFound) as refused:
        await world.run_now(gadget_id)
    assert refused.value.code == "SCHEDULE_NOT_FOUND"
    schedule_id = await world.put(gadget_id, is_paused=True)
    before = await world.said(schedule_id)
    asked = await world.run_now(gadget_id)
    [ordered] = [one for one in await world.messages() if one.workflow == "Gadget"]
    assert ordered == asked.message
    assert ordered.payload == {"gadget_id": str(gadget_id), "operation_id": str(asked.operation.id)}
    assert asked.operation.requested_by_user_id == world.principal.user_id
    assert await world.said(schedule_id) == before, "its times are as they were, and it is paused"
    assert (await world.run_now(gadget_id)).operation.id == asked.operation.id
    await world.put(gadget_id)
    assert await world.rows.order(BUILD, schedule_id, gadget_id, new_id()) == "under way"
    await world.sql.execute("UPDATE operations SET status = 'succeeded'")
    of_a_run = new_id()
    assert await world.rows.order(BUILD, schedule_id, gadget_id, of_a_run) is None
    assert (await world.run_now(gadget_id)).operation.id == of_a_run
    await world.removed(gadget_id)
    with pytest.raises(NotFound):
        await world.run_now(gadget_id)


async def test_of_many_who_run_it_now_at_once_one_orders(world: World) -> None:
    gadget_id = await world.gadget()
    schedule_id = await world.put(gadget_id)
    at_once = [world.run_now(gadget_id) for _ in range(4)]
    *asked, reason = await asyncio.gather(*at_once, world.rows.order(BUILD, schedule_id, gadget_id, new_id()))
    cursor = await world.sql.execute("SELECT id FROM operations")
    [(operation_id,)] = await cursor.fetchall()
    assert {one.operation.id for one in asked if isinstance(one, Asked)} == {operation_id}
    assert reason in {None, "under way"}


async def test_what_starts_a_workflow_cannot_be_run_now(world: World) -> None:
    gadget_id = await world.gadget()
    await world.put(gadget_id, kind=OF_A_FAMILY)
    with pytest.raises(ValueError, match=r"gadget\.count: only what orders an operation"):
        await world.run_now(gadget_id, OF_A_FAMILY)


async def test_the_workflow_hears_of_rows_keeps_them_and_their_runs_order(world: World) -> None:
    """As a worker has it: message, pass, schedule, run, operation. A burst of changes is a pass or two."""
    counted = world.activities.reconcile_schedules
    delivery = StandingDelivery(
        world.client, [STANDING], OutboxDelivery(world.client, BOTH, api_url="http://a.invalid")
    )
    interceptors = registry.interceptors()
    async with (
        Worker(
            world.client,
            task_queue=TaskQueue.ORCHESTRATION,
            workflows=[SchedulesWorkflow, ScheduledOrderWorkflow],
        ),
        Worker(
            world.client,
            task_queue=TaskQueue.RECORDS,
            activities=[counted, world.orders.order_scheduled],
            interceptors=interceptors,
        ),
    ):
        gadgets = [await world.gadget() for _ in range(20)]
        ids = await asyncio.gather(*(world.put(one) for one in gadgets))
        messages = await world.messages()
        assert len(messages) == len(gadgets)
        await asyncio.gather(*(delivery.deliver(one) for one in messages))

        async def all_applied() -> bool:
            return {(await world.said(one))["state"] for one in ids} == {"applied"}

        await until(all_applied)
        handle = world.client.get_workflow_handle(SCHEDULES)
        events = [event async for event in handle.fetch_history_events()]
        assert len([one for one in events if one.HasField("activity_task_scheduled_event_attributes")]) <= 3
        await world.handle(ids[0]).trigger()

        async def is_ordered() -> bool:
            cursor = await world.sql.execute("SELECT resource_id, kind FROM operations")
            return await cursor.fetchall() == [(gadgets[0], "gadget.build")]

        await until(is_ordered)
        runs = [one.id async for one in world.client.list_workflows(f"WorkflowId STARTS_WITH 'scheduled/{ids[0]}'")]
        await until(lambda: _has(runs, world, ids[0]))
        run = world.client.get_workflow_handle(runs[0])
        outcome = ScheduledOutcome.model_validate(await run.result())
        assert outcome.operation_id is not None
        await keep_history(run, "ordered", world.client.data_converter.payload_codec)
        await keep_history(handle, "burst", world.client.data_converter.payload_codec)


async def _has(runs: list[str], world: World, schedule_id: UUID) -> bool:
    query = f"WorkflowId STARTS_WITH 'scheduled/{schedule_id}'"
    runs[:] = [one.id async for one in world.client.list_workflows(query)]
    return bool(runs)
