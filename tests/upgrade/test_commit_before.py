"""An installation of the version before, dead with instances in every state, goes on with the code of today.

The oracle is the cloud's ledger, as in the chaos tests: no machine twice, none left, every bill what the meter came to.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.chaos import scoreboard
from tests.chaos.installation import OWN_PROGRAMS, Installation, installed
from tests.chaos.ledger import made_outside, verify
from tests.chaos.owners import HEALED_WITHIN_S, until_owned
from tests.chaos.scenarios import MARKS
from tests.upgrade.recording import RECORDED, Recording
from workers.embedded.postgres import PostgresServer

pytestmark = [*MARKS]

RECORDINGS = sorted(found.parent.name for found in RECORDED.glob("*/recording.json"))
OVER = {"draining", "terminating", "terminated"}
"""States in which somebody had ordered the end."""
MACHINELESS = {"provisioning", "ordered", "failed"}
"""States in which no machine had been made."""

BILLS = """
SELECT id, instance_id, provider_resource_id, usage_kind, opened_at, price_eur_per_hour, price_source,
    billing_increment_s, billing_minimum_s
FROM billing_segments WHERE closed_at IS NULL ORDER BY id
"""

Bill = dict[str, Any]


@asynccontextmanager
async def taken_up(recording: Recording, home: Path) -> AsyncIterator[tuple[Installation, list[Bill]]]:
    """The recorded installation with the code of today, and the bills that ran when it died."""
    restored = recording.put_into(home)
    bills: list[Bill] = []

    def fill(server: PostgresServer) -> None:
        restored.fill(server)
        with psycopg.connect(server.url(), row_factory=dict_row) as connection:
            bills.extend(connection.execute(BILLS))

    async with installed(home, OWN_PROGRAMS, fill, **restored.variables) as installation:
        yield installation, bills


def those(recording: Recording, states: Iterable[str]) -> list[UUID]:
    return [recording.instances[state] for state in states]


async def stuck(installation: Installation) -> list[str]:
    """Executions whose next step fails again and again, as that of a history does that the code of today does not lead to."""
    client = await installation.temporal_client()
    found = []
    async for one in client.list_workflows("ExecutionStatus = 'Running'"):
        described = await client.get_workflow_handle(one.id).describe()
        if described.raw_description.pending_workflow_task.attempt > 1:
            found.append(one.id)
    return found


async def until_none_is_stuck(installation: Installation) -> None:
    async with asyncio.timeout(scoreboard.patience_s(HEALED_WITHIN_S)):
        while found := await stuck(installation):
            assert len(found) < 1_000
            await asyncio.sleep(1.0)


@pytest.mark.parametrize("name", RECORDINGS)
async def test_instances_are_found_again_and_billed_on(name: str, tmp_path: Path) -> None:
    recording = Recording.read(name)
    held = recording.instances
    everyone = list(held.values())
    async with taken_up(recording, tmp_path / "home") as (installation, bills):
        outside = await made_outside(installation)
        await until_owned(installation, {*everyone} - {held["terminated"], held["draining"]})
        client = await installation.temporal_client()
        for one in those(recording, held.keys() - OVER - {"ordered"}):
            owner = await client.get_workflow_handle(f"instance/{one}").describe()
            assert owner.start_time < recording.recorded_at, "the owner of then, not one that was started in its place"

        await installation.end_faults()
        await installation.until_status(those(recording, ["ready", "serving", "ordered"]), "ready", HEALED_WITHIN_S)
        await installation.until_status(those(recording, OVER), "terminated", HEALED_WITHIN_S)
        await until_none_is_stuck(installation)
        goes_on = [one for one in everyone if one not in those(recording, OVER)]
        await until_owned(installation, set(goes_on))
        with_machine = those(recording, held.keys() - MACHINELESS)
        now = await made_outside(installation)
        assert {one: now[one].ever for one in with_machine} == dict.fromkeys(with_machine, 1)
        assert {one: now[one].live for one in with_machine if now[one].live} == {
            one: outside[one].live for one in with_machine if one in goes_on
        }
        assert held["failed"] not in now
        billed_on = await installation.rows(BILLS)
        assert [bill for bill in bills if bill["instance_id"] in goes_on] == [
            bill for bill in billed_on if bill["id"] in {of_before["id"] for of_before in bills}
        ]

        await installation.reinstall(held["serving"])
        await installation.until(
            [held["serving"]], lambda row: row["status"] == "ready" and row["generation"] > 1, HEALED_WITHIN_S
        )
        # its look at the provider had run out, an hour after the recording: the next one is half a minute later
        await installation.until([held["building"]], lambda row: row["status"] != "provisioning", HEALED_WITHIN_S)
        settled = those(recording, ["ready", "serving", "ordered", "building", "booting", *OVER])
        await verify(installation, settled)
        listed = (await installation.call("GET", "/instances")).json()
        assert {UUID(one["id"]) for one in listed} == set(everyone)

        await installation.terminate(*goes_on)
        await installation.until_status(everyone, "terminated", HEALED_WITHIN_S)
        await verify(installation, [one for one in everyone if one != held["failed"]], at_most_one=True)
        await until_owned(installation, set())
        at_last = await made_outside(installation)
        assert {one for one, made in at_last.items() if made.live or made.live_volumes} == set()
        assert held["failed"] not in at_last
