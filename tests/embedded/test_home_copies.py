"""A home that is copied, moved, half lost, or somebody else's; its folder is called as folders are called."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psycopg
import pytest

from models.base.ids import new_id
from models.settings import Settings
from models.settings.derived import admin_url
from tests.embedded.driver import PARTS, SOMEBODY_ELSE, command, environment, forget, started
from tests.needs import need
from tests.patience import GIVE_UP_S
from tests.servers import running
from workers.embedded import doctor, postgres, postgres_place
from workers.embedded.errors import StartError
from workers.embedded.fleet.instances import served_instances
from workers.embedded.home import Home, locked, mark_of, open_home, write_private
from workers.embedded.intact_check import check_intact
from workers.embedded.leftovers import end_leftovers
from workers.embedded.postgres import PostgresServer
from workers.embedded.processes import ProcessIdentity, identify

STRANGE = 'a #1 100%25 "it\'s" ?x=y [ü] $HOME' + (os.fsdecode(b"\xff") if sys.platform == "linux" else "")
"""The last of it is no character at all: a name is bytes where the system asks for no more."""

SLEEPER = ("sleep", "600")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Below no closed folder: PostgreSQL's user passes, so that the data lie in the home itself for root too."""
    folder = Path(tempfile.gettempdir()) / f"quarterdeck-{new_id()}"
    folder.mkdir(mode=0o711)
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    """PostgreSQL's user does not pass: its data lie elsewhere."""
    need(present=os.geteuid() == 0, what="root", install="run the tests as root")
    tmp_path.chmod(0o700)
    yield tmp_path
    for home in tmp_path.iterdir():
        forget(home)


@pytest.fixture
def sleeper() -> Iterator[ProcessIdentity]:
    with subprocess.Popen(SLEEPER) as process:
        identity = identify(process.pid, SLEEPER)
        assert identity is not None
        yield identity
        process.kill()


def copied(home: Path, copy: Path) -> Path:
    """As `cp -r` does it."""
    shutil.copytree(home, copy, symlinks=True)
    copy.chmod(home.stat().st_mode & 0o777)
    return copy


def kept(home: Path) -> object:
    with psycopg.connect(admin_url(Settings(home=home))) as connection:
        return connection.execute("SELECT n FROM kept").fetchone()


def keep(home: Path, number: int) -> None:
    with psycopg.connect(admin_url(Settings(home=home))) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("DELETE FROM kept")
        connection.execute("INSERT INTO kept VALUES (%s)", (number,))


def test_a_copy_runs_beside_its_original_and_a_moved_home_goes_on(open_folder: Path) -> None:
    """In a folder with a strange name. The copy has the records of the running original, as a copy of a running home has."""
    home, copy = open_folder / STRANGE, open_folder / "copy"
    env = environment(home)
    with started(home, env=env) as run:
        run.wait_until_ready()
        keep(home, 1)
        assert (home / "temporal.db").exists()
        assert command(env, "status", "--json").returncode == 0
        assert "already runs in" in command(env | {"PYTHONIOENCODING": "ascii"}, "up").stderr
        assert run.stop() == 0
    assert [path.name for path in open_folder.iterdir() if path.suffix != ".txt"] == [home.name], (
        "nothing is made beside it"
    )
    copied(home, copy)
    with started(home, env=env) as original:
        original.wait_until_ready()
        before = original.pids()
        for name in ("up.json", "postgres/data/postmaster.pid"):
            shutil.copy2(home / name, copy / name)
        with started(copy) as other:
            other.wait_until_ready()
            assert kept(copy) == (1,)
            keep(copy, 2)
            assert command(other.env, "down", "--instances").returncode == 0
            other.process.wait(GIVE_UP_S)
        for name in ("up.json", "postgres/data/postmaster.pid"):
            shutil.copy2(home / name, copy / name)
        assert command(other.env, "down").returncode == 0
        assert original.pids() == before
        assert set(before) == set(PARTS)
        assert kept(home) == (1,)
        assert original.stop() == 0
    shutil.rmtree(home)
    copy.rename(home)
    with started(home, env=env) as moved:
        moved.wait_until_ready()
        assert kept(home) == (2,)


def test_a_copied_record_ends_nobody(tmp_path: Path, sleeper: ProcessIdentity) -> None:
    home = open_home(tmp_path / "home")
    record = {"supervisor": asdict(sleeper), "parts": [{"name": "x", "process": asdict(sleeper)}]}
    write_private(home.run_record, json.dumps({**mark_of(home), **record}))
    copy = Home(copied(home.path, tmp_path / "copy"))
    assert end_leftovers(copy) == []
    env = environment(copy.path)
    with locked(copy):  # its own `up` has begun, and not written its record yet
        refused = command(env, "down")
    assert (refused.returncode, "already runs" in refused.stderr) == (2, True)
    assert command(env, "down").returncode == 0
    write_private(home.run_record, json.dumps(record))  # of an earlier version, which did not say of which home it is
    assert end_leftovers(home) == []
    assert sleeper.find() is not None
    write_private(home.run_record, json.dumps({**mark_of(home), **record}))
    moved = Home(home.path.rename(tmp_path / "moved"))
    assert end_leftovers(moved) == ["x"], "a home that was renamed is the same"


def test_an_agent_of_the_original_is_none_of_the_copys(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "instances" / "m-1"
    folder.mkdir(parents=True)
    code = (
        "import fcntl, json, os, time; os.umask(0o077); lock = open('agent.lock', 'w'); fcntl.flock(lock, fcntl.LOCK_EX);"
        "open('agent.json', 'w').write(json.dumps({'pid': os.getpid()})); print(flush=True); time.sleep(600)"
    )
    with subprocess.Popen(["python3", "-c", code], cwd=folder, stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()
        copy = copied(tmp_path / "home", tmp_path / "copy")
        assert [served.pid for served in served_instances(folder.parent)] == [agent.pid]
        assert served_instances(copy / "instances") == []
        agent.kill()


def serves(server: PostgresServer, home: Path) -> None:
    server.before_start()
    with running(server.process(home / "postgres.log"), server.is_ready):
        server.ensure_database()


def test_data_that_lie_elsewhere_have_one_home(closed_folder: Path) -> None:
    home = closed_folder / "home"
    home.mkdir()
    server = postgres.prepare(home)
    copy = copied(home, closed_folder / "copy")
    with pytest.raises(StartError, match=rf"{copy} is a copy of {home}, whose database is in {server.folder}"):
        postgres.prepare(copy)
    [finding] = [one for one in doctor.check_database_of_home(Settings(home=copy)) if not one.ok]
    assert "is a copy of" in finding.text
    server.before_start()
    with running(server.process(home / "postgres.log"), server.is_ready):
        moved = home.rename(closed_folder / "moved")
        with pytest.raises(StartError, match="another home works with the database"):
            postgres.prepare(copy)
        assert server.is_ready()
    assert postgres.prepare(moved).folder == server.folder
    with pytest.raises(StartError, match=rf"is a copy of {moved}"):
        postgres.prepare(copy)
    shutil.rmtree(moved)
    serves(postgres.prepare(copy), copy)  # as after a move to another file system: nothing else names the data


def test_data_of_an_earlier_version_are_found_from_where_the_home_is_now(open_folder: Path) -> None:
    home = open_folder / "home"
    server = postgres.prepare(open_home(home).path)
    record = json.loads((home / "postgres.json").read_text())
    assert record["folder"] == "postgres"
    of_before = {"folder": str(server.folder), "port": server.port, "password": server.password}
    write_private(home / "postgres.json", json.dumps(of_before))
    copy, moved = copied(home, open_folder / "copy"), home.rename(open_folder / "moved")
    assert postgres.prepare(copy).folder == copy / "postgres"
    serves(postgres.prepare(moved), moved)
    assert json.loads((moved / "postgres.json").read_text())["folder"] == "postgres"


def test_data_of_an_earlier_version_that_lie_elsewhere_are_this_homes(closed_folder: Path) -> None:
    home = closed_folder / "home"
    home.mkdir()
    server = postgres.prepare(home)
    before = server.folder.with_name(postgres_place._name_of_before(home))
    server.folder.rename(before)
    server.folder.with_name(f"{server.folder.name}.json").unlink()
    of_before = {"folder": str(before), "port": server.port, "password": server.password}
    write_private(home / "postgres.json", json.dumps(of_before))
    copy = copied(home, closed_folder / "copy")
    again = postgres.prepare(home)
    assert again.folder == before
    with pytest.raises(StartError, match="is a copy of"):
        postgres.prepare(copy)


def test_root_says_which_folder_is_closed_to_postgres(closed_folder: Path, open_folder: Path) -> None:
    home = open_folder / "home"
    postgres.prepare(open_home(home).path)
    moved = Path(shutil.move(home, closed_folder / "home"))
    with pytest.raises(StartError, match=r"PostgreSQL's user cannot pass through .*chmod"):
        postgres.prepare(moved)


def test_no_database_is_made_where_one_was(open_folder: Path) -> None:
    home = open_home(open_folder / "home").path
    env = environment(home)
    server = postgres.prepare(home)
    write_private(home / "installation.key", "")
    server.folder.rename(open_folder / "lost")
    assert refused(home, env).startswith(
        f"quarterdeck: the database of {home} is missing, it should be in {server.folder}"
    )
    (open_folder / "lost").rename(server.folder)
    (home / "installation.key").unlink()
    assert "installation.key is missing" in refused(home, env)
    assert not (home / "installation.key").exists()
    (home / "postgres.json").unlink()
    assert "postgres.json is missing" in refused(home, env)
    shutil.rmtree(server.folder)
    write_private(home / "admin.json", "{}")
    assert "has an installation whose database is missing" in refused(home, env)


def refused(home: Path, env: dict[str, str]) -> str:
    """The line of `up`, which `doctor` says too. Nothing was begun."""
    result = command(env, "up")
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1), result.stderr
    assert list((home / "logs").iterdir()) == []
    [finding] = check_intact(Settings(home=home))
    assert not finding.ok
    assert finding.text in result.stderr
    return result.stderr


def test_root_makes_no_home_in_a_users_folder(tmp_path: Path) -> None:
    need(present=os.geteuid() == 0, what="root", install="run the tests as root")
    users = tmp_path / "users"
    users.mkdir()
    os.chown(users, SOMEBODY_ELSE, -1)
    env = environment(users / "project" / ".quarterdeck")
    for arguments in (("up",), ("doctor", "--json")):
        result = command(env, *arguments)
        assert result.returncode != 0
        assert f"{users} belongs to another user" in result.stdout + result.stderr
        assert "run this as that user, not as root" in result.stdout + result.stderr
    assert list(users.iterdir()) == []


def test_a_name_that_the_terminal_has_no_characters_for_is_told(tmp_path: Path) -> None:
    env = environment(tmp_path / "é→") | {"PYTHONIOENCODING": "ascii"}
    for arguments in (["status"], ["down"], ["doctor"]):
        result = command(env, *arguments)
        assert (f"{tmp_path}/??" in result.stdout, result.stderr) == (True, ""), arguments


def test_a_process_that_only_looks_like_it_is_no_server_of_ours(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with subprocess.Popen(["python3", "-c", "import time; time.sleep(600)", "-D", str(data)], cwd="/") as stranger:
        (data / "postmaster.pid").write_text(f"{stranger.pid}\n")
        assert postgres_place.server_of(data) is None
        stranger.kill()
