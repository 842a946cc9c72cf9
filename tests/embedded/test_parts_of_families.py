"""`quarterdeck up` with parts of a family, which are there while a setting or a row wants them."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from psycopg import sql

from models.settings import Settings
from models.settings.derived import DatabaseRole, admin_url, database_url
from tests.embedded.driver import PARTS, ROOT, Up, command, environment, forget, started, wait_for
from tests.embedded.parts import BELLS, DOOR_PORT
from tests.embedded.stand_in import BROKEN
from workers.embedded.ports import free_port
from workers.family_parts import TAKEN, FamilyPart, FamilyParts, WhileRows, joined

WORKER = DatabaseRole.WORKER
QUICK = ("--parts", "row_parts.ASK_EVERY_S=0.2", "row_parts.TRY_AGAIN_AFTER_S=0.2")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "home"
    yield path
    forget(path)


@pytest.fixture
def run(home: Path) -> Iterator[Up]:
    """With rows that can be asked."""
    with started(home, "worker", *QUICK, env=environment(home, **{DOOR_PORT: str(free_port())})) as run:
        run.wait_until_ready()
        make_table(home)
        yield run


@contextmanager
def rows(home: Path) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(admin_url(Settings(home=home)), autocommit=True) as connection:
        yield connection


def make_table(home: Path) -> None:
    """What `migrate` does: the role of workers, and what it may read."""
    password = urlsplit(database_url(Settings(home=home), WORKER)).password
    with rows(home) as connection, connection.transaction():
        role = sql.Identifier(WORKER)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
        connection.execute("CREATE TABLE wanted (part text)")
        connection.execute(sql.SQL("GRANT SELECT ON wanted TO {}").format(role))


def want(run: Up, *names: str) -> None:
    with rows(run.home) as connection:
        for name in names:
            connection.execute("INSERT INTO wanted VALUES (%s)", (name,))


def want_none(run: Up) -> None:
    with rows(run.home) as connection:
        connection.execute("DELETE FROM wanted")


def health(run: Up) -> dict[str, object]:
    """Of each part, and of all by the name `exit`."""
    shown = command(run.env, "status", "--json")
    return {"exit": shown.returncode, **{part["name"]: part["health"] for part in json.loads(shown.stdout)["parts"]}}


WELL: dict[str, object] = {"exit": 0, **dict.fromkeys(PARTS, "ok")}


def end_of(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("name", [BELLS, "Lamps"])
def test_a_setting_says_at_the_start_whether_a_part_is_there(home: Path, name: str) -> None:
    with started(home, "worker", *QUICK, env=environment(home, QUARTERDECK_ORGANIZATION_NAME=name)) as run:
        run.wait_until_ready()
        its = {"bell": "ok"} if name == BELLS else {}
        assert health(run) == WELL | its
        if its:
            given = psutil.Process(run.pids()["bell"]).environ()
            assert {one for one in given if "DATABASE" in one} == {"QUARTERDECK_DATABASE_URL_API"}
        processes = [psutil.Process(pid) for pid in run.pids().values()]
        assert run.stop() == 0
        assert all(map(end_of, processes))


def test_a_part_comes_and_goes_with_its_row(run: Up) -> None:
    assert health(run) == WELL
    want(run, "lamp", "door")
    wait_for(lambda: run.is_ready("lamp") and run.is_ready("door"), "two parts more")
    assert health(run) == WELL | {"lamp": "ok", "door": "ok"}
    given = psutil.Process(run.pids()["lamp"]).environ()
    assert urlsplit(given["QUARTERDECK_DATABASE_URL_WORKER"]).username == WORKER
    assert run.parts()["door"]["port"] == int(run.env[DOOR_PORT])
    run.kill("lamp")  # it is looked after like any other
    left = [psutil.Process(run.pids()[name]) for name in ("lamp", "door")]
    others = {name: run.pids()[name] for name in PARTS}
    want_none(run)
    wait_for(lambda: run.parts().keys() == set(PARTS), "the end of both")
    assert all(map(end_of, left))
    assert run.pids() == others
    assert health(run) == WELL
    want(run, "lamp")
    wait_for(lambda: run.is_ready("lamp"), "the lamp again")
    last = psutil.Process(run.pids()["lamp"])
    assert run.stop() == 0
    assert end_of(last)


def test_it_goes_on_while_postgres_is_away(run: Up) -> None:
    want(run, "lamp")
    wait_for(lambda: run.is_ready("lamp"), "the lamp")
    before = run.parts()["lamp"]
    server = psutil.Process(run.pids()["postgres"])
    frozen = [server, *server.children(recursive=True)]
    for one in frozen:
        one.suspend()  # nothing is answered, and nothing refused
    try:
        with pytest.raises(AssertionError, match="did not happen"):
            wait_for(lambda: run.parts()["lamp"] != before, "a change", 1.0)
    finally:
        for one in frozen:
            one.resume()
    run.kill("postgres")
    assert run.parts()["lamp"] == before
    want_none(run)
    wait_for(lambda: "lamp" not in run.parts(), "the end of the lamp")
    assert run.parts()["worker"]["restarts"] == 0


def test_one_that_cannot_start_is_told_of_once_and_holds_up_nobody(run: Up) -> None:
    broken = run.home / BROKEN
    broken.write_text("")
    want(run, "lamp", "door")
    said = "quarterdeck: lamp does not start: no such thing as a working lamp"
    wait_for(lambda: said in run.text() and run.is_ready("door"), "a word of the lamp")
    log = run.home / "logs" / "lamp.log"
    tries = log.read_text().count("no such thing")
    wait_for(lambda: log.read_text().count("no such thing") > tries + 3, "more tries")
    assert run.text().count(said) == 1
    seen = health(run)
    assert (seen["exit"], seen["lamp"] == "ok") == (1, False)
    assert {name: seen[name] for name in (*PARTS, "door")} == dict.fromkeys((*PARTS, "door"), "ok")
    broken.unlink()
    wait_for(lambda: run.is_ready("lamp"), "the lamp after all")
    assert health(run) == WELL | {"lamp": "ok", "door": "ok"}


def test_one_that_is_not_wanted_any_more_was_never_missed(run: Up) -> None:
    """Neither what hangs in its start nor what is between two tries."""
    (run.home / BROKEN).write_text("")
    want(run, "mute", "lamp")
    wait_for(lambda: "mute" in run.pids() and "lamp does not start" in run.text(), "both on their way")
    mute = psutil.Process(run.pids()["mute"])
    assert run.parts()["mute"]["state"] == "starting"
    want_none(run)
    wait_for(lambda: run.parts().keys() == set(PARTS), "the end of both")
    assert end_of(mute)
    assert health(run) == WELL
    assert "mute" not in run.text()


def test_up_stops_at_once_while_a_part_is_on_its_way(run: Up) -> None:
    (run.home / BROKEN).write_text("")
    want(run, "mute", "lamp")
    wait_for(lambda: "mute" in run.pids() and "lamp does not start" in run.text(), "both on their way")
    left = [psutil.Process(pid) for pid in run.pids().values()]
    assert run.stop(signal.SIGTERM) == 0
    assert all(map(end_of, left))
    assert not (run.home / "up.json").exists()


def test_rows_that_cannot_be_asked_are_told_of_once(home: Path) -> None:
    """Here the role of workers is missing, and then the table."""
    env = environment(home, **{DOOR_PORT: str(free_port())})
    with started(home, "worker", *QUICK, env=env) as run:
        run.wait_until_ready()
        said = "quarterdeck: rows do not say which parts are wanted, and what runs stays: "
        wait_for(lambda: said in run.text(), "a complaint")
        make_table(home)
        want(run, "lamp")
        wait_for(lambda: run.is_ready("lamp"), "the lamp")
        with rows(home) as connection:
            connection.execute("ALTER TABLE wanted RENAME TO unwanted")
            wait_for(lambda: f'{said}relation "wanted" does not exist' in run.text(), "another complaint")
            connection.execute("ALTER TABLE unwanted RENAME TO wanted")
        assert run.is_ready("lamp")
        reasons = [line.removeprefix(said) for line in run.text().splitlines() if line.startswith(said)]
        assert len(reasons) == len(set(reasons)), reasons
        assert len(reasons) == 2, reasons


@pytest.mark.parametrize("names", [("lamp", "lamp"), ("api",), ("../lamp",), ("",)])
def test_a_name_is_one_parts_and_that_of_a_file(names: tuple[str, ...]) -> None:
    parts = [FamilyPart(name=name, when=WhileRows("SELECT true"), command=("true",)) for name in names]
    with pytest.raises(ValueError, match="no names for parts"):
        joined(FamilyParts((part,)) for part in parts)


def test_the_names_of_what_up_runs_anyway_are_taken() -> None:
    assert {*PARTS} < TAKEN


def test_up_is_light_whatever_families_bring_to_a_worker() -> None:
    code = (
        "import sys, workers.embedded.up; print({'temporalio', 'sqlalchemy', 'workers.registry'} & sys.modules.keys())"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"
