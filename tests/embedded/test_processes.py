"""Recognising, ending and outliving processes: what is ours is ended, what only looks like it is left alone."""

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from activities.runtime.logs import QUIET
from tests.embedded.driver import ROOT, SOMEBODY_ELSE, closed_to_us, wait_for
from tests.needs import need
from tests.patience import GIVE_UP_S
from tests.signals import PYTHON_IGNORES, ignored_and_blocked
from workers.__main__ import main as program
from workers.embedded import processes
from workers.embedded.errors import StartError
from workers.embedded.fleet.instances import end_instances, served_instances
from workers.embedded.home import Home, ensure_key, is_locked, locked, mark_of, open_home, write_private
from workers.embedded.leftovers import end_leftovers
from workers.embedded.processes import ProcessIdentity, ProcessSpec, command_line

OF_A_HOME = [
    ["status"],
    ["down"],
    ["up"],
    ["migrate"],
    ["bootstrap", "--admin-file", "/nowhere/a"],
    ["worker"],
    ["api"],
]
SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
DEAF = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
)
SIGNALS = "import sys; sys.path.insert(0, sys.argv[1]); from tests.signals import *; print(*blocked_and_ignored_by())"
AGENT = """
import fcntl, json, os, sys, time
os.umask(0o077)
lock = open("agent.lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
open("agent.json", "w").write(json.dumps({"pid": os.getpid()}))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _umask_as_before() -> Iterator[None]:
    """`up` sets it for its process, which is that of the tests here."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


def spec(tmp_path: Path, argv: tuple[str, ...]) -> ProcessSpec:
    return ProcessSpec("test", argv, tmp_path / "test.log", tmp_path, {"PATH": os.defpath}, stop_timeout_s=0.5)


def spawned(tmp_path: Path, argv: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], ProcessIdentity]:
    process = processes.spawn(spec(tmp_path, argv))
    identity = processes.identify(process.pid, argv)
    assert identity is not None
    return process, identity


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], ProcessIdentity]]:
    process, identity = spawned(tmp_path, SLEEPER)
    yield process, identity
    process.kill()
    process.wait()


def test_a_process_is_known_again_by_number_start_and_command(
    sleeper: tuple[subprocess.Popen[bytes], ProcessIdentity],
) -> None:
    process, identity = sleeper
    # before that it becomes one program after the other, and meanwhile it shows none
    wait_for(lambda: command_line(process.pid) == list(SLEEPER), "the program itself")
    assert identity.find() is not None
    assert replace(identity, started=identity.started + "0").find() is None
    assert replace(identity, argv=("something", "else")).find() is None


def test_a_dead_process_is_not_found_even_before_it_is_reaped(tmp_path: Path) -> None:
    process, identity = spawned(tmp_path, SLEEPER)
    process.kill()
    deadline = time.monotonic() + GIVE_UP_S
    while identity.find() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.wait()


def test_leftovers_are_ended_and_strangers_are_not(
    tmp_path: Path, sleeper: tuple[subprocess.Popen[bytes], ProcessIdentity]
) -> None:
    home = Home(tmp_path)
    stranger, stranger_identity = spawned(tmp_path, SLEEPER)
    process, identity = sleeper
    reused_number = replace(stranger_identity, started="another boot/1")
    parts = [
        {"name": "ours", "process": asdict(identity), "stop_signal": int(signal.SIGTERM)},
        {"name": "reused", "process": asdict(reused_number), "stop_signal": int(signal.SIGTERM)},
        {"name": "never started", "process": None},
    ]
    write_private(home.run_record, json.dumps({**mark_of(home), "parts": parts}))
    try:
        assert end_leftovers(home) == ["ours"]
        assert process.wait(GIVE_UP_S) == -signal.SIGTERM
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"parts": 3}', '{"parts": [{"process": {"pid": "x"}}]}'])
def test_a_broken_record_is_no_obstacle(tmp_path: Path, text: str) -> None:
    home = Home(tmp_path)
    home.run_record.write_text(text)
    home.run_record.chmod(0o600)
    assert end_leftovers(home) == []


def test_who_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    process, _ = spawned(tmp_path, DEAF)
    deadline = time.monotonic() + GIVE_UP_S
    while "deaf" not in (tmp_path / "test.log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    processes.stop(process, spec(tmp_path, DEAF))
    assert process.returncode == -signal.SIGKILL


def test_a_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    program = f"""
import sys, time
from pathlib import Path
from workers.embedded import processes
from workers.embedded.processes import ProcessSpec
child = processes.spawn(ProcessSpec("c", {SLEEPER!r}, Path({str(tmp_path / "c.log")!r}), Path("/"), {{}}))
print(child.pid, flush=True)
time.sleep(600)
"""
    root = Path(processes.__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(root)}
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        deadline = time.monotonic() + GIVE_UP_S
        while child.cmdline() != list(SLEEPER):  # the shim has become the program
            assert time.monotonic() < deadline
            time.sleep(0.01)
        parent.kill()
    child.wait(timeout=GIVE_UP_S)


def test_a_part_has_default_signals_whatever_its_starter_ignores_or_blocks(tmp_path: Path) -> None:
    with ignored_and_blocked(signal.SIGHUP):
        process, _ = spawned(tmp_path, (sys.executable, "-c", SIGNALS, str(ROOT)))
    assert process.wait(GIVE_UP_S) == 0
    assert (tmp_path / "test.log").read_text() == f"0 {PYTHON_IGNORES}\n"


def test_a_home_has_one_holder_and_is_free_after_a_crash(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    assert not is_locked(home)
    with locked(home):
        assert is_locked(home)
        with pytest.raises(StartError, match="already runs"), locked(home):
            pytest.fail("two holders")
    assert not is_locked(home)


def test_a_home_of_another_user_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    closed_to_us(monkeypatch, tmp_path / "up.lock")
    monkeypatch.setenv("QUARTERDECK_HOME", str(tmp_path))
    for name in ("status", "down", "up"):
        assert program([name]) == 2
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert f"{tmp_path} belongs to another user" in err
    assert program(["status", "--json"]) == 2
    assert json.loads(capfd.readouterr().err)["code"] == "CANNOT_START"


def test_a_home_that_others_can_write_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUARTERDECK_HOME", str(tmp_path))
    for mode in (0o770, 0o702):
        tmp_path.chmod(mode)
        for command in OF_A_HOME:
            assert program(command) == 2
            out, err = capfd.readouterr()
            assert (out, err.count("\n")) == ("", 1)
            assert f"{tmp_path} can be written by others" in err
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_belongs_to_somebody_else_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    need(present=os.geteuid() == 0, what="root", install="run the tests as root")
    monkeypatch.setenv("QUARTERDECK_HOME", str(tmp_path))
    os.chown(tmp_path, SOMEBODY_ELSE, -1)
    for command in OF_A_HOME:
        assert program(command) == 2
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert f"{tmp_path} belongs to another user" in err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    """What a program sets up would go on writing to the standard error of this test."""
    root, quiet = logging.getLogger(), [logging.getLogger(name) for name in QUIET]
    handlers, levels = [*root.handlers], [logger.level for logger in (root, *quiet)]
    yield
    root.handlers[:] = handlers
    for logger, level in zip((root, *quiet), levels, strict=True):
        logger.setLevel(level)


@pytest.mark.usefixtures("_logging_as_before")
@pytest.mark.parametrize(("name", "readers"), [("installation.key", OF_A_HOME[5:]), ("postgres.json", OF_A_HOME[3:])])
def test_a_file_of_the_home_that_others_can_read_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
    readers: list[list[str]],
) -> None:
    home = open_home(tmp_path / "home")
    ensure_key(home)
    write_private(home.path / "postgres.json", json.dumps({"folder": "x", "port": 1, "password": "planted"}))
    (home.path / name).chmod(0o644)
    monkeypatch.setenv("QUARTERDECK_HOME", str(home.path))
    for command in readers:
        assert program(command) == 2
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert f"{home.path / name} is open to others" in err


def test_a_record_that_was_planted_ends_nobody(
    tmp_path: Path, sleeper: tuple[subprocess.Popen[bytes], ProcessIdentity]
) -> None:
    """As a clone or an archive brings it: ours, but not made by us."""
    home, (process, identity) = Home(tmp_path), sleeper
    home.run_record.write_text(json.dumps({"parts": [{"name": "planted", "process": asdict(identity)}]}))
    home.run_record.chmod(0o644)
    with pytest.raises(StartError, match="open to others"):
        end_leftovers(home)
    assert process.poll() is None


def test_the_installation_key_is_made_once(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    ensure_key(home)
    key = (home.path / "installation.key").read_text()
    ensure_key(home)
    assert (home.path / "installation.key").read_text() == key
    assert (home.path / "installation.key").stat().st_mode & 0o077 == 0


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_private(target, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(target, "\ud800")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_text() == "old"


def test_served_instances_are_found_by_their_lock_and_ended_on_request(tmp_path: Path) -> None:
    for name in ("alive", "dead", "impostor"):
        (tmp_path / name).mkdir()
    (tmp_path / "dead" / "agent.lock").touch()
    write_private(tmp_path / "dead" / "agent.json", json.dumps({"pid": os.getpid()}))
    with (
        subprocess.Popen(
            [sys.executable, "-c", AGENT], cwd=tmp_path / "alive", stdout=subprocess.PIPE, start_new_session=True
        ) as agent,
        (tmp_path / "impostor" / "agent.lock").open("w") as lock,
    ):
        assert agent.stdout is not None
        agent.stdout.readline()
        fcntl.flock(lock, fcntl.LOCK_EX)  # held, but by somebody else than the file beside it says
        write_private(tmp_path / "impostor" / "agent.json", json.dumps({"pid": agent.pid}))
        assert [served.folder.name for served in served_instances(tmp_path)] == ["alive"]
        (tmp_path / "alive" / "agent.json").chmod(0o660)
        assert served_instances(tmp_path) == [], "whoever could write the file could name any process"
        (tmp_path / "alive" / "agent.json").chmod(0o600)
        assert end_instances(tmp_path) == 1
        assert agent.wait(GIVE_UP_S) == -signal.SIGTERM
    assert served_instances(tmp_path) == []
    assert end_instances(tmp_path / "no such folder") == 0
