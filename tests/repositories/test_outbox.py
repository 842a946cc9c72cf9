"""A message that cannot be delivered: when its alarm is due, who raises it, what is counted of it, and by whom."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy.exc import ProgrammingError

from models.base.clock import utc_now
from models.contracts.fleet.owner_kinds import INSTANCE
from models.contracts.outbox import DeliveryKind
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.identity.principal import Principal
from models.repositories import outbox, pulse
from models.repositories.database import Database
from models.tables.activity import ActionLog, Event
from models.tables.operations import OutboxRow
from tests.factories.founded import founded
from tests.factories.rows import Rows
from tests.servers import TestDatabase

CODE = "TEMPORAL_UNAVAILABLE"
ALMOST, LONG = timedelta(minutes=9, seconds=50), timedelta(minutes=10, seconds=1)


@dataclass(frozen=True)
class Outbox:
    rows: Rows
    worker: Database
    api: Database
    principal: Principal
    unknown: UUID = field(default_factory=uuid4)
    """Of an instance that is not there."""

    def message(
        self, *, failing_for: timedelta | None = None, due_for: timedelta = timedelta(0), **columns: Any
    ) -> UUID:
        now = utc_now()
        values = {"failing_since": now - failing_for if failing_for else None, **columns}
        row = outbox.new(
            INSTANCE, self.unknown, organization_id=self.principal.organization_id, kind=DeliveryKind.START, payload={},
            now=now - due_for,
        )  # fmt: skip
        for name, value in values.items():
            setattr(row, name, value)
        self.rows.add(row)
        return row.id

    def row(self, message_id: UUID) -> OutboxRow:
        return self.rows.one(OutboxRow, id=message_id)

    async def postpone(self, message_id: UUID) -> bool:
        async with self.worker.system() as session:
            return await outbox.postpone(session, message_id, error_code=CODE, delay_s=30.0)

    async def alarm(self, message_id: UUID) -> bool:
        async with self.worker.system() as session:
            return await outbox.alarm(session, message_id)

    async def settle(self, message_id: UUID) -> None:
        async with self.worker.system() as session:
            await outbox.settle(session, [message_id])

    async def stuck(self) -> int:
        async with self.api.system() as session:
            return (await pulse.beat(session, {})).stuck_messages


@pytest.fixture
def rows(database: TestDatabase) -> Iterator[Rows]:
    rows = Rows(database)
    yield rows
    rows.close()


@pytest.fixture
async def box(database: TestDatabase, rows: Rows) -> AsyncIterator[Outbox]:
    principal = await founded(database)
    worker, api = Database(database.worker, pool_size=5), Database(database.api, pool_size=2)
    yield Outbox(rows, worker, api, principal)
    await worker.close()
    await api.close()


async def test_the_time_of_failing_begins_with_the_first_failure(box: Outbox) -> None:
    message_id = box.message(created_at=utc_now() - timedelta(hours=1))
    assert not await box.postpone(message_id), "written an hour ago, tried for the first time"
    first = box.row(message_id)
    assert not await box.postpone(message_id)
    again = box.row(message_id)
    assert first.failing_since == again.failing_since is not None
    assert (again.last_error_code, again.alarmed_at) == (CODE, None)
    assert again.next_attempt_at > first.next_attempt_at


async def test_an_alarm_is_due_after_ten_minutes_of_failing(box: Outbox) -> None:
    assert not await box.postpone(box.message(failing_for=ALMOST))
    overdue = box.message(failing_for=LONG)
    assert await box.postpone(overdue)
    assert await box.postpone(overdue), "and stays due until somebody has raised it"
    assert await box.alarm(overdue)
    assert not await box.postpone(overdue)


async def test_a_delivered_message_raises_none(box: Outbox) -> None:
    message_id = box.message(failing_for=LONG)
    await box.settle(message_id)
    assert not await box.postpone(message_id)
    assert not await box.alarm(message_id)
    assert box.rows.all(ActionLog) == []


async def test_of_many_who_raise_it_at_once_one_does(box: Outbox) -> None:
    message_id = box.message(failing_for=LONG)
    assert sorted(await asyncio.gather(*(box.alarm(message_id) for _ in range(5)))) == [False] * 4 + [True]
    assert len(box.rows.all(ActionLog)) == 1
    assert box.row(message_id).alarmed_at is not None


async def test_the_organization_reads_it_in_its_action_log(box: Outbox) -> None:
    instance = box.rows.instance(box.principal.organization_id, InstanceStatus.PROVISIONING)
    operation = box.rows.operation(instance)
    payload = {"operation_id": str(operation.id)}
    message_id = box.message(failing_for=LONG, payload=payload, resource_id=instance.id, attempts=21)
    await box.postpone(message_id)
    await box.alarm(message_id)
    log = box.rows.one(ActionLog)
    assert (log.action_type, log.status, log.error_code) == ("ALARM", "failed", "MESSAGE_NOT_DELIVERED")
    assert (log.organization_id, log.instance_id, log.operation_id) == (
        box.principal.organization_id, instance.id, operation.id,
    )  # fmt: skip
    assert (log.details["cause"], log.details["attempts"], log.details["message_id"]) == (CODE, 21, str(message_id))
    assert datetime.fromisoformat(str(log.details["failing_since"])) == box.row(message_id).failing_since
    [event] = box.rows.all(Event, kind="action_log.created")
    assert event.stream == f"organization/{box.principal.organization_id}"
    assert event.data == {"ids": [str(log.id)], "instance_ids": [str(instance.id)]}


async def test_a_message_about_an_instance_that_is_gone_raises_it_too(box: Outbox) -> None:
    assert await box.alarm(box.message(failing_for=LONG))
    log = box.rows.one(ActionLog)
    assert (log.instance_id, log.resource_kind, log.resource_id) == (None, "instance", box.unknown)
    assert box.rows.one(Event, kind="action_log.created").data["instance_ids"] == [str(box.unknown)]


async def test_a_message_about_anything_else_raises_it_too(box: Outbox) -> None:
    await box.alarm(box.message(failing_for=LONG, resource_kind="gadget", workflow_id=f"gadget/{box.unknown}"))
    log, event = box.rows.one(ActionLog), box.rows.one(Event, kind="action_log.created")
    assert (log.instance_id, log.resource_kind, log.resource_id) == (None, "gadget", box.unknown)
    assert event.data == {"ids": [str(log.id)], "gadget_ids": [str(box.unknown)]}


async def test_a_message_of_a_process_of_before_raises_it_about_nothing(box: Outbox) -> None:
    await box.alarm(box.message(failing_for=LONG, resource_kind=None, resource_id=None))
    log, event = box.rows.one(ActionLog), box.rows.one(Event, kind="action_log.created")
    assert (log.resource_kind, event.data) == (None, {"ids": [str(log.id)]})


async def test_what_is_stuck_is_counted_until_it_is_delivered(box: Outbox) -> None:
    alarmed, nobodys = box.message(alarmed_at=utc_now()), box.message(due_for=LONG)
    box.message(failing_for=ALMOST)
    box.message(due_for=ALMOST)
    box.message(alarmed_at=utc_now(), delivered_at=utc_now(), due_for=LONG)
    assert await box.stuck() == 2
    box.rows.change(box.row(alarmed), next_attempt_at=utc_now() - LONG)
    assert await box.stuck() == 2, "one message is one, for whatever reasons it is stuck"
    await box.settle(nobodys)
    assert await box.stuck() == 1
    await box.settle(alarmed)
    assert await box.stuck() == 0


async def test_of_a_flood_no_more_is_counted_than_people_would(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "STUCK_COUNTED", 3)
    for _ in range(5):
        box.message(due_for=LONG)
    assert await box.stuck() == 3


async def test_the_api_may_count_and_no_more(box: Outbox, database: TestDatabase) -> None:
    message_id = box.message(failing_for=LONG)
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with box.api.system() as session:
            await outbox.alarm(session, message_id)
    with (
        psycopg.connect(database.worker) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT count_stuck_messages(0, 1)")
