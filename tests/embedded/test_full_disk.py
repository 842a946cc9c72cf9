"""On a full disk nothing stops but what needs the disk; it is said; and all of it goes on when there is space again."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psycopg
import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from models.base.ids import new_id
from models.settings import Settings
from models.settings.derived import admin_url
from tests.embedded.driver import PARTS, ROOT, wait_for
from tests.embedded.small_disk import SmallDisk, need_small_disk, on_a_small_disk
from tests.patience import GIVE_UP_S

RESERVE_BYTES = 32 << 20
TO_THE_LOG = "SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    """The tests of this module are one story, told in their order."""
    need_small_disk()
    with on_a_small_disk(tmp_path_factory.mktemp("full")) as disk:
        disk.run.wait_until_ready()
        yield disk


@pytest.fixture
def full(disk: SmallDisk) -> Iterator[SmallDisk]:
    wait_for(lambda: not is_said_to_be_full(disk), "word that there is room")
    disk.fill()
    wait_for(lambda: is_said_to_be_full(disk), "word of the full disk")
    yield disk
    if disk.run.process.poll() is None and disk._filler.exists():
        disk.free()


def is_said_to_be_full(disk: SmallDisk) -> bool:
    said = disk.run.text()
    return said.count("no room on the disk") > said.count("there is room again")


def everything_works(disk: SmallDisk) -> None:
    """All parts are ready, and an order goes through API, database, Temporal, worker and cloud."""
    wait_for(lambda: all(disk.run.is_ready(name) for name in PARTS), "readiness of all")
    wait_for(lambda: disk.command("quarterdeck", "status").returncode == 0, "a good status")
    ordered = disk.command(
        "quarterdeck", "deploy", "mock-echo-model", "--provider", "mock", "--wait", "--timeout", "45"
    )
    assert ordered.returncode == 0, ordered.stdout + ordered.stderr


def health(disk: SmallDisk) -> dict[str, object]:
    with httpx.Client(trust_env=False, timeout=GIVE_UP_S) as client:
        said = client.get(f"http://127.0.0.1:{disk.run.env['QUARTERDECK_API_PORT']}/health").json()
    assert isinstance(said, dict)
    return said


def end_by_the_log(disk: SmallDisk) -> None:
    """Write to PostgreSQL's log alone, until it finds no room for the next segment."""
    with suppress(psycopg.OperationalError), psycopg.connect(admin_url(Settings(home=disk.run.home))) as connection:
        while True:
            connection.execute(TO_THE_LOG)


def test_a_first_start_says_what_it_lacks(tmp_path: Path) -> None:
    need_small_disk()
    with on_a_small_disk(tmp_path, 20) as disk:
        assert disk.run.process.wait(GIVE_UP_S) == 2
        *told, last = disk.run.text().splitlines()
        assert last.startswith("quarterdeck: PostgreSQL's initdb failed:")
        assert "removing" not in last, "what initdb says last is what it cleans up, not why"
        assert [line.partition(" (")[0] for line in told] == [
            f"quarterdeck: no room on the disk of {disk.run.env['QUARTERDECK_HOME']}"
        ]


def test_there_is_a_reserve_of_real_blocks(disk: SmallDisk) -> None:
    reserve = disk.run.home / "reserve"
    wait_for(reserve.exists, "the reserve")
    assert reserve.stat().st_blocks * 512 >= RESERVE_BYTES


def test_it_is_said_by_all_who_are_asked(full: SmallDisk) -> None:
    shown = full.command("quarterdeck", "status", "--json")
    assert (shown.returncode, bool(json.loads(shown.stdout)["disk"])) == (1, True)
    wait_for(lambda: health(full)["reasons"] == ["METERING_UNAVAILABLE"], "word of the journal")
    assert health(full)["status"] == "degraded"
    table = full.command("quarterdeck", "status").stdout
    assert "No room on the disk of" in table
    assert "requests to models cannot be recorded on the disk" in table
    full.free()
    wait_for(lambda: health(full)["status"] == "healthy", "a journal that can be written")
    wait_for(lambda: "there is room again" in full.run.text(), "word of the room")


async def test_temporal_refuses_what_it_cannot_keep_and_takes_it_afterwards(full: SmallDisk) -> None:
    client = await Client.connect(f"127.0.0.1:{full.run.env['QUARTERDECK_TEMPORAL_PORT']}")

    async def begin() -> None:
        await client.start_workflow("Nothing", "x" * 200_000, id=f"test-{new_id()}", task_queue="nobody")

    async def begin_for_ever() -> None:
        while True:
            await begin()

    restarts = full.run.parts()["temporal"]["restarts"]
    with pytest.raises(RPCError):
        await begin_for_ever()
    await asyncio.to_thread(full.free)
    await asyncio.to_thread(everything_works, full)
    await begin()
    assert full.run.parts()["temporal"]["restarts"] == restarts, "it has not even been restarted"


def test_every_part_that_dies_meanwhile_comes_back(full: SmallDisk) -> None:
    before = {name: full.run.parts()[name]["restarts"] for name in PARTS}
    pids = full.run.pids()
    for name in PARTS:
        os.kill(pids[name], signal.SIGKILL)
    wait_for(
        lambda: all(full.run.parts()[name]["restarts"] != before[name] for name in PARTS), "a record of all that died"
    )
    assert full.run.process.poll() is None
    full.free()
    everything_works(full)


def test_a_database_whose_log_finds_no_room_comes_back_with_all_it_had(disk: SmallDisk) -> None:
    url = admin_url(Settings(home=disk.run.home))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
    before = disk.run.parts()["postgres"]["restarts"]
    disk.fill()
    end_by_the_log(disk)
    wait_for(lambda: disk.run.parts()["postgres"]["restarts"] != before, "the end of the database")
    disk.free()
    wait_for(lambda: disk.run.is_ready("postgres"), "the database")
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (42,)


def test_the_commands_of_the_book_show_what_fills_it(full: SmallDisk) -> None:
    chapter = (
        (ROOT / "docs" / "operating.md").read_text().partition("### When the disk is full\n")[2].partition("\n##")[0]
    )
    [commands] = re.findall(r"```sh\n(.*?)```", chapter, re.DOTALL)
    for line in commands.splitlines():
        shown = full.command("sh", "-c", line)
        assert shown.returncode == (1 if line.startswith("quarterdeck") else 0), line
        assert shown.stdout
        assert shown.stderr == ""


def test_it_stops_in_order_on_a_full_disk(full: SmallDisk) -> None:
    """The last test: it has the reserve for that."""
    held = os.open(
        full.run.home, os.O_RDONLY | os.O_DIRECTORY
    )  # the disk goes with the last who has something of it open
    home = Path(f"/proc/self/fd/{held}")
    try:
        full.run.process.send_signal(signal.SIGTERM)
        assert full.run.process.wait(GIVE_UP_S) == 0
        assert {"reserve", "up.json"}.isdisjoint(path.name for path in home.iterdir())
        lines = (home / "logs" / "postgres.log").read_text().splitlines()
    finally:
        os.close(held)
    assert lines[-1].endswith("database system is shut down")
