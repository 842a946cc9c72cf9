"""`quarterdeck up` with real PostgreSQL, Temporal and simulated cloud: starting, dying parts, stopping."""

import http.client
import ipaddress
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from models.settings import Settings
from models.settings.derived import admin_url
from tests.embedded.driver import (
    PARTS,
    TIMEOUT_S,
    Up,
    command,
    environment,
    forget,
    home_in_memory,
    shown_on_a_terminal,
    started,
    wait_for,
)
from tests.embedded.log_lines import files_of, need_to_collapse, numbers_in
from tests.embedded.stand_in import HEALTH
from tests.patience import GIVE_UP_S
from tests.signals import blocked_and_ignored_by, heard, ignored_and_blocked


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with home_in_memory(tmp_path) as path:
        yield path


@pytest.fixture
def home_on_disk(tmp_path: Path) -> Iterator[Path]:
    """In a folder that is closed to PostgreSQL's user where root runs the tests."""
    path = tmp_path / "home"
    yield path
    forget(path)


@pytest.fixture
def run(home: Path) -> Iterator[Up]:
    with started(home) as run:
        run.wait_until_ready()
        yield run


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """For tests that leave it as they found it."""
    path = tmp_path_factory.mktemp("shared") / "home"
    with started(path) as run:
        run.wait_until_ready()
        yield run
    forget(path)


def test_the_first_start_says_where_the_credentials_are_and_every_start_five_lines(home_on_disk: Path) -> None:
    home = home_on_disk
    env = environment(home)
    with started(home, env=env) as first:
        first.wait_until_ready()
        assert (first.text().count("shown-once"), first.text().count("the password is in")) == (0, 1)
        assert [log.name for log in (home / "logs").iterdir() if "shown-once" in log.read_text()] == []
        assert first.stop() == 0
    with started(home, env=env) as second:
        second.wait_until_ready()
        lines = [line for line in second.text().splitlines() if "waiting for" not in line]
        assert len(lines) == 5
        assert "shown-once" not in second.text()
        assert f"http://127.0.0.1:{env['QUARTERDECK_API_PORT']}" in lines[1]
        assert f"http://127.0.0.1:{env['QUARTERDECK_TEMPORAL_UI_PORT']}" in lines[2]
        assert second.stop(signal.SIGTERM) == 0


def test_credentials_are_shown_to_a_terminal_only(home: Path) -> None:
    assert "password shown-once" in shown_on_a_terminal(home, "is ready after")


def test_it_leaves_no_process_and_no_open_file_of_others_behind(run: Up) -> None:
    children = psutil.Process(run.process.pid).children(recursive=True)
    assert {run.pids()[name] for name in PARTS} <= {child.pid for child in children}
    run.stop()
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    for path in (run.home / "installation.key", run.home / "postgres.json", run.home / "logs" / "postgres.log"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_ctrl_c_at_the_terminal_reaches_only_the_supervisor(shared: Up) -> None:
    sessions = {os.getsid(pid) for pid in shared.pids().values()}
    assert os.getsid(shared.process.pid) not in sessions
    assert len(sessions) == len(PARTS)


def test_everything_listens_on_loopback_only(shared: Up) -> None:
    processes = [psutil.Process(shared.process.pid), *psutil.Process(shared.process.pid).children(recursive=True)]
    sockets = [c for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(sockets) >= len(PARTS) - 1
    assert [c.laddr.ip for c in sockets if not ipaddress.ip_address(c.laddr.ip).is_loopback] == []


def test_the_web_ui_answers_under_its_own_names_only(shared: Up) -> None:
    port = int(shared.env["QUARTERDECK_TEMPORAL_UI_PORT"])
    for host, status in ((f"127.0.0.1:{port}", 200), (f"localhost:{port}", 200), (f"evil.example:{port}", 421)):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GIVE_UP_S)
        connection.request("GET", "/api/v1/namespaces/default", headers={"Host": host})
        assert connection.getresponse().status == status
        connection.close()
    temporal = psutil.Process(shared.pids()["temporal"])
    own = {each.laddr.ip for each in temporal.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    assert any(ip.startswith("127.") and ip != "127.0.0.1" for ip in own), "the UI itself is where a page would look"


def test_no_part_is_given_a_way_into_the_database_but_its_own(shared: Up) -> None:
    given = {name: psutil.Process(pid).environ() for name, pid in shared.pids().items()}
    urls = {name: {key: value for key, value in env.items() if "DATABASE" in key} for name, env in given.items()}
    assert {name: list(found) for name, found in urls.items() if found} == {
        "api": ["QUARTERDECK_DATABASE_URL_API"],
        "worker": ["QUARTERDECK_DATABASE_URL_WORKER"],
    }
    assert urlsplit(urls["api"]["QUARTERDECK_DATABASE_URL_API"]).username == "quarterdeck_api"
    assert urlsplit(urls["worker"]["QUARTERDECK_DATABASE_URL_WORKER"]).username == "quarterdeck_worker"
    superusers = json.loads((shared.home / "postgres.json").read_text())["password"]
    assert superusers not in str(given)


@pytest.mark.parametrize("how", ["Ctrl-C", "down"])
def test_it_stops_although_its_starter_ignored_and_blocked_signals(home: Path, how: str) -> None:
    """As below `nohup make up &` in a script. All of it: the parts heard nothing of SIGINT either, which stops PostgreSQL."""
    with ExitStack() as stack:
        with ignored_and_blocked(signal.SIGCHLD):
            run = stack.enter_context(started(home))
        run.wait_until_ready()
        processes = [psutil.Process(run.process.pid), *psutil.Process(run.process.pid).children(recursive=True)]
        asked_to_end = 1 << signal.SIGINT - 1 | 1 << signal.SIGTERM - 1
        for pid in (run.process.pid, *run.pids().values()):
            assert not any(mask & asked_to_end for mask in blocked_and_ignored_by(pid)), psutil.Process(pid).cmdline()
        if how == "down":
            assert command(run.env, "down").returncode == 0
            run.process.wait(GIVE_UP_S)
        else:
            run.stop(signal.SIGINT)
        assert run.process.returncode == 0
        assert [one for one in processes[1:] if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
        assert "shutting down" in (home / "logs" / "postgres.log").read_text()


def test_a_hang_up_stops_it_unless_its_starter_ignored_that(home: Path) -> None:
    """`nohup`."""
    with ExitStack() as stack:
        with ignored_and_blocked(signal.SIGHUP):
            run = stack.enter_context(started(home))
        run.wait_until_ready()
        run.process.send_signal(signal.SIGHUP)
        run.kill("worker")  # it is looked after still
        assert "Stopping" not in run.text()
        env = run.env
    with ExitStack() as stack:
        with heard(signal.SIGHUP):
            other = stack.enter_context(started(home, env=env))
        other.wait_until_ready()
        assert other.stop(signal.SIGHUP) == 0


def test_a_killed_part_comes_back_and_the_others_stay(run: Up) -> None:
    for name in PARTS:
        before = run.pids()
        run.kill(name)
        after = run.pids()
        assert {other: after[other] for other in PARTS if other != name} == {
            other: before[other] for other in PARTS if other != name
        }
        assert run.parts()[name]["restarts"] == 1


def test_what_was_committed_survives_a_kill_of_postgres(run: Up) -> None:
    url = admin_url(Settings(home=run.home))
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (42)")
    run.kill("postgres")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (42,)


FLOOD = "DO $$ BEGIN FOR n IN 0..{last} LOOP RAISE LOG 'line % %', n, repeat('x', n % 150); END LOOP; END $$"


def test_a_log_stays_short_while_its_part_writes_much_and_no_line_is_lost(home_on_disk: Path) -> None:
    home = home_on_disk
    need_to_collapse(home.parent)
    last, limit_bytes = 60_000, 300_000
    env = environment(home, QUARTERDECK_LOG_FILE_BYTES=str(limit_bytes), QUARTERDECK_LOG_FILES_KEPT="1000")
    log = home / "logs" / "postgres.log"
    with started(home, env=env) as run:
        run.wait_until_ready()
        with psycopg.connect(admin_url(Settings(home=home))) as connection:
            for begin in range(3):
                connection.execute(FLOOD.format(last=last).encode())
                wait_for(lambda: log.stat().st_size <= limit_bytes, "a short log")
                assert numbers_in(log, marked="LOG:  line ", of_others=True) == [*range(last + 1)] * (begin + 1)
        assert len(files_of(log)) > 3
        assert run.parts()["postgres"]["restarts"] == 0


def test_a_kill_of_the_supervisor_amid_a_flood_loses_no_line(home_on_disk: Path) -> None:
    home = home_on_disk
    need_to_collapse(home.parent)
    env = environment(home, QUARTERDECK_LOG_FILE_BYTES="200000", QUARTERDECK_LOG_FILES_KEPT="1000")
    log = home / "logs" / "postgres.log"
    with started(home, env=env) as run:
        run.wait_until_ready()
        postgres = psutil.Process(run.pids()["postgres"])
        with psycopg.connect(admin_url(Settings(home=home))) as connection, ThreadPoolExecutor(1) as pool:
            flooding = pool.submit(connection.execute, FLOOD.format(last=2_000_000).encode())
            wait_for(lambda: len(files_of(log)) > 2, "the first older log")
            run.process.kill()
            with pytest.raises(psycopg.OperationalError):  # the server ends with its supervisor
                flooding.result(TIMEOUT_S)
        postgres.wait(TIMEOUT_S)
        found = numbers_in(log, marked="LOG:  line ", of_others=True)
        assert sorted(set(found)) == [*range(max(found) + 1)]
        assert "database system is shut down" in log.read_text()


def test_after_a_kill_of_the_supervisor_nothing_runs_on_and_the_next_one_starts(run: Up) -> None:
    children = psutil.Process(run.process.pid).children(recursive=True)
    run.process.kill()
    run.process.wait()
    gone, alive = psutil.wait_procs(children, timeout=GIVE_UP_S)
    assert alive == [], gone
    with started(run.home, env=run.env) as again:
        again.wait_until_ready()


def test_the_next_start_does_not_wait_for_what_a_killed_supervisor_left(run: Up) -> None:
    run.process.kill()
    run.process.wait()
    with started(run.home, env=run.env) as again:
        again.wait_until_ready()
        assert again.stop() == 0


def test_a_part_that_does_not_finish_is_killed(home: Path) -> None:
    with started(home, "stubborn") as run:
        run.wait_until_ready()
        worker = psutil.Process(run.pids()["worker"])
        assert run.stop() == 0
        assert not worker.is_running()


def test_a_second_ctrl_c_does_not_wait(home: Path) -> None:
    """The first one would wait for an hour."""
    with started(home, "stubborn", "--patient") as run:
        run.wait_until_ready()
        run.process.send_signal(signal.SIGINT)
        wait_for(lambda: "Stopping" in run.text(), "the first Ctrl-C")
        assert run.stop() == 0


def test_it_can_be_stopped_while_it_starts(home: Path) -> None:
    with started(home) as run:
        wait_for(lambda: "temporal" in run.pids(), "the start of the first part")
        assert run.stop() == 0
        assert run.pids() == {}


def test_a_program_that_cannot_start_is_named_with_its_own_last_words(home: Path) -> None:
    with started(home, "broken") as run:
        assert run.process.wait(GIVE_UP_S) == 2
        assert (
            run.text()
            .splitlines()[-1]
            .startswith("quarterdeck: worker does not start: no such thing as a working worker")
        )
        assert run.pids() == {}


def test_a_second_up_of_the_same_home_is_refused_in_one_line(shared: Up) -> None:
    second = command(shared.env, "up")
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr.splitlines() == [
        f"quarterdeck: Quarterdeck already runs in {shared.home}: see `quarterdeck status`"
    ]
    assert shared.process.poll() is None


@pytest.mark.parametrize("name", ["API_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "SIMCLOUD_PORT"])
def test_a_port_in_use_is_refused_in_one_line(home: Path, name: str) -> None:
    env = environment(home)
    with socket.create_server(("127.0.0.1", int(env[f"QUARTERDECK_{name}"]))):
        result = command(env, "up")
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert f"port {env[f'QUARTERDECK_{name}']} is in use" in result.stderr
    assert f"QUARTERDECK_{name}" in result.stderr


def test_a_home_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = command(environment(tmp_path / "file" / "home"), "up")
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert "cannot write to" in result.stderr
    assert "QUARTERDECK_HOME" in result.stderr


def test_a_missing_dependency_is_one_line(home: Path) -> None:
    result = command(environment(home), "up", python=("-S",))
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert "is not installed: run `make clean up`" in result.stderr


def test_an_external_temporal_out_of_reach_is_told_before_anything_starts(home: Path) -> None:
    env = environment(home)
    address = f"127.0.0.1:{env['QUARTERDECK_TEMPORAL_PORT']}"
    result = command(env | {"QUARTERDECK_TEMPORAL_ADDRESS": address}, "up")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        f"quarterdeck: Temporal at {address} cannot be reached; check QUARTERDECK_TEMPORAL_ADDRESS"
    ]
    assert list((home / "logs").iterdir()) == []


def test_a_part_that_is_not_installed_is_advised_what_installs_it(home: Path) -> None:
    """`make up` alone installs nothing where it once did."""
    code = "import sysconfig, sys; sysconfig.get_path = lambda *_: '/nowhere'; from workers.__main__ import main; sys.exit(main(['up']))"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment(home, PATH="/nowhere"), cwd="/",
        capture_output=True, text=True, timeout=GIVE_UP_S, check=False,
    )  # fmt: skip
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert "`temporal` is not installed: run `make clean up`" in result.stderr


def test_a_bad_setting_is_one_line_without_its_value(home: Path) -> None:
    result = command(environment(home, QUARTERDECK_INSTALLATION_KEY="guess-me"), "up")
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert "QUARTERDECK_INSTALLATION_KEY" in result.stderr
    assert "guess-me" not in result.stderr


def test_two_homes_run_side_by_side(shared: Up, tmp_path: Path) -> None:
    with started(tmp_path / "other") as other:
        other.wait_until_ready()
        assert set(shared.pids().values()).isdisjoint(other.pids().values())
        other.stop()
        assert set(shared.pids()) == set(PARTS)
    forget(tmp_path / "other")


def test_status_and_down_find_it_from_elsewhere(run: Up) -> None:
    shown = command(run.env, "status", "--json")
    report = json.loads(shown.stdout)
    assert (shown.returncode, report["running"]) == (0, True)
    assert {part["name"]: part["pid"] for part in report["parts"]} == run.pids()
    assert {part["health"] for part in report["parts"]} == {"ok"}
    stopped = command(run.env, "down", "--json")
    assert json.loads(stopped.stdout) == {"home": str(run.home), "stopped": True, "served_instances_ended": 0}
    assert stopped.returncode == 0
    assert run.process.wait(GIVE_UP_S) == 0
    assert command(run.env, "status").returncode == 1
    again = command(run.env, "down")
    assert (again.returncode, "does not run" in again.stdout) == (0, True)


def test_status_says_that_messages_are_stuck(shared: Up) -> None:
    said = shared.home / HEALTH
    said.write_text(json.dumps({"status": "degraded", "stuck_messages": 3}))
    try:
        shown, table = command(shared.env, "status", "--json"), command(shared.env, "status")
    finally:
        said.unlink()
    parts = {part["name"]: (part["health"], part["stuck_messages"]) for part in json.loads(shown.stdout)["parts"]}
    assert (shown.returncode, table.returncode) == (1, 1)
    assert parts == {name: ("degraded", 3) if name == "api" else ("ok", None) for name in PARTS}
    assert "Messages that do not reach their workflows: 3" in table.stdout
    assert command(shared.env, "status").returncode == 0


@pytest.mark.parametrize("arguments", [["status", "--jsn"], ["down", "--instances", "now"], ["up", "--fast"]])
def test_wrong_usage_is_json_where_json_was_asked_for(home: Path, arguments: list[str]) -> None:
    result = command(environment(home), *arguments, "--json")
    assert (result.returncode, result.stdout) == (2, "")
    told = json.loads(result.stderr)
    assert (told["code"], told["exit_code"]) == ("USAGE", 2)
    assert "unrecognized arguments" in told["error"]


def test_with_external_parts_only_ours_are_started(shared: Up, home: Path) -> None:
    env = environment(
        home,
        QUARTERDECK_DATABASE_URL=admin_url(Settings(home=shared.home)),
        QUARTERDECK_TEMPORAL_ADDRESS=f"127.0.0.1:{shared.env['QUARTERDECK_TEMPORAL_PORT']}",
    )
    with started(home, env=env) as guest:
        guest.wait_until_ready()
        assert set(guest.pids()) == {"api", "worker", "simcloud"}
        assert not (home / "postgres").exists()
        assert "QUARTERDECK_DATABASE_URL" in guest.text()
        assert "not set (QUARTERDECK_TEMPORAL_UI_URL)" in guest.text()
