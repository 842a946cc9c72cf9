"""Alarms: raised once and cleared once, told in the log of actions, counted for `/health`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from models.contracts.fleet.owner_kinds import INSTANCE
from models.contracts.operations import ActionNote
from models.contracts.outbox import DeliveryKind
from models.repositories import alarms, outbox, pulse
from models.repositories.alarms import About
from models.repositories.database import Database
from tests.factories import identity
from tests.factories.rows import Rows
from tests.servers import TestDatabase

NOTE = ActionNote(action_type="ALARM", failed=True, error_code="DELETION_PENDING", error_message="it is still there")


class World:
    def __init__(self, admin: TestDatabase) -> None:
        self.admin, self.worker, self.api = admin, Database(admin.worker), Database(admin.api)
        rows, organization = Rows(admin), identity.organization("Acme")
        rows.add(organization)
        rows.close()
        self.organization_id = organization.id
        self.about = About(INSTANCE, uuid4(), organization.id)

    def rows(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        with psycopg.connect(self.admin.admin, row_factory=dict_row) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def told(self) -> list[tuple[str, str | None]]:
        statement = "SELECT action_type, error_code FROM action_logs WHERE organization_id = %s ORDER BY completed_at"
        return [(row["action_type"], row["error_code"]) for row in self.rows(statement, self.organization_id)]

    async def follow(self, *notes: ActionNote, is_over: bool = False) -> None:
        async with self.worker.tenant(self.organization_id) as session:
            await alarms.follow(session, self.about, notes, is_over=is_over)

    async def open(self) -> dict[str, int]:
        async with self.api.system() as session:
            return dict((await pulse.beat(session, {})).alarms)

    async def message(self) -> UUID:
        """One that fails."""
        async with self.api.tenant(self.organization_id) as session:
            now = await _now(session)
            row = outbox.new(
                INSTANCE, self.about.resource_id, organization_id=self.organization_id, kind=DeliveryKind.OBSERVED,
                payload={"instance_id": str(self.about.resource_id)}, now=now,
            )  # fmt: skip
            session.add(row)
            await session.flush()
            return row.id


async def _now(session: Any) -> Any:
    from models.repositories.transaction_time import began_at  # noqa: PLC0415

    return await began_at(session)


@pytest.fixture
async def world(database: TestDatabase) -> AsyncIterator[World]:
    world = World(database)
    yield world
    await world.worker.close()
    await world.api.close()


async def test_an_owners_alarm_is_raised_once_and_ends_with_what_was_wrong(
    world: World, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "models.repositories.alarms")
    await world.follow(NOTE)
    await world.follow(NOTE)
    assert await world.open() == {"DELETION_PENDING": 1}
    [alarm] = world.rows("SELECT * FROM alarms")
    assert (alarm["resource_kind"], alarm["resource_id"]) == ("instance", world.about.resource_id)
    assert (alarm["organization_id"], alarm["cleared_at"]) == (world.organization_id, None)
    await world.follow(is_over=True)
    await world.follow(is_over=True)
    assert await world.open() == {}
    assert world.told() == [("ALARM_CLEARED", "DELETION_PENDING")], "the note itself is logged by who projects it"
    said = [(record.levelname, record.getMessage().split(" ")[0]) for record in caplog.records]
    assert said == [("ERROR", "alarm"), ("INFO", "1")]


async def test_one_that_comes_back_is_another_one(world: World):
    for _ in range(2):
        await world.follow(NOTE)
        await world.follow(ActionNote(action_type="ALARM_CLEARED"))
    assert [row["cleared_at"] is not None for row in world.rows("SELECT cleared_at FROM alarms")] == [True, True]


async def test_many_who_see_the_same_raise_one(world: World):
    async def raised() -> None:
        await world.follow(NOTE)

    await asyncio.gather(*(raised() for _ in range(8)))
    assert len(world.rows("SELECT id FROM alarms")) == 1
    await asyncio.gather(*(world.follow(is_over=True) for _ in range(8)))
    assert world.told() == [("ALARM_CLEARED", "DELETION_PENDING")]


async def test_a_message_that_is_delivered_at_last_ends_its_alarm(world: World):
    stuck, fine = await world.message(), await world.message()
    async with world.worker.system() as session:
        assert await outbox.alarm(session, stuck)
    async with world.worker.system() as session:
        assert not await outbox.alarm(session, stuck)
    assert await world.open() == {"MESSAGE_NOT_DELIVERED": 1}
    assert world.told() == [("ALARM", "MESSAGE_NOT_DELIVERED")]
    for _ in range(2):
        async with world.worker.system() as session:
            await outbox.settle(session, [fine, stuck])
    assert await world.open() == {}
    assert world.told() == [("ALARM", "MESSAGE_NOT_DELIVERED"), ("ALARM_CLEARED", "MESSAGE_NOT_DELIVERED")]


async def test_old_ones_are_purged_and_open_ones_stay(world: World):
    await world.follow(NOTE)
    await world.follow(is_over=True)
    await world.follow(NOTE)
    world.rows("UPDATE alarms SET cleared_at = now() - interval '8 days' WHERE cleared_at IS NOT NULL")
    world.rows("SELECT purge_expired(604800, 604800)")
    assert await world.open() == {"DELETION_PENDING": 1}
    assert len(world.rows("SELECT id FROM alarms")) == 1
