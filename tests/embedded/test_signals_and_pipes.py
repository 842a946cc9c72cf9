"""`quarterdeck up` below whatever starts it: a pipe that closes, a terminal that goes away, a service manager, a container."""

import os
import pty
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from models.base.ids import new_id
from tests.embedded.driver import ROOT, TIMEOUT_S, Up, environment, home_in_memory, wait_for
from tests.embedded.manager import listening
from tests.needs import need, need_program
from tests.patience import GIVE_UP_S
from tests.signals import heard, ignored_and_blocked
from workers.embedded.service_manager import check_service_manager

RUN_UP = (sys.executable, str(Path(__file__).with_name("run_up.py")))
IN_A_CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
TELLS_THAT_IT_HEARS = """
import time
from models.base.signals import ending_when_told
with ending_when_told():
    print("told", flush=True)
    while True:
        time.sleep(0.05)  # Python looks between two of them: what comes just before one is seen after it
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with home_in_memory(tmp_path) as path:
        yield path


@contextmanager
def launched(
    home: Path,
    *command: str,
    stdout: int = subprocess.DEVNULL,
    stdin: int = subprocess.DEVNULL,
    more: Mapping[str, str] | None = None,
) -> Iterator[Up]:
    """As `driver.started`, but for what it is connected to."""
    env = environment(home, **(more or {}))
    process = subprocess.Popen(command, env=env, stdin=stdin, stdout=stdout, stderr=stdout, text=True)
    run = Up(home, env, process, home / "nowhere")
    try:
        yield run
    finally:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(GIVE_UP_S / 5)
            process.kill()  # `unshare` hears of nothing else, and takes along what it started
            process.wait(TIMEOUT_S)


def is_up(run: Up) -> bool:
    assert run.process.poll() is None
    return run.is_ready("api") and run.is_ready("worker")


def stopped_in_order(home: Path) -> bool:
    return (home / "logs" / "postgres.log").read_text().splitlines()[-1].endswith("database system is shut down")


def test_a_pipe_that_nobody_reads_stops_nothing_and_the_manager_is_told(home: Path, tmp_path: Path) -> None:
    """`up | head -1`, as a service."""
    address = str(tmp_path / "manager")
    with listening(address) as told:
        reading, writing = os.pipe()
        with launched(home, *RUN_UP, "worker", stdout=writing, more={"NOTIFY_SOCKET": address}) as run:
            os.close(writing)
            os.close(reading)
            wait_for(lambda: "READY=1" in told(), "word that it is ready")
            assert is_up(run)
            assert not any("NOTIFY_SOCKET" in psutil.Process(pid).environ() for pid in run.pids().values())
            run.kill("worker")
            assert "STOPPING=1" not in told()
            for _ in range(2):  # as `timeout` does; it is no impatience
                run.process.send_signal(signal.SIGTERM)
                time.sleep(0.1)
            assert run.process.wait(GIVE_UP_S) == 0
            assert told()[-1] == "STOPPING=1"
            assert stopped_in_order(home)


def terminal_of(*command: str) -> tuple[str, ...]:
    """The command in a session whose terminal its standard input is."""
    code = "import os, fcntl, termios, sys; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    return (sys.executable, "-c", code, *command)


def test_a_terminal_that_closes_stops_it_in_order(home: Path) -> None:
    """As `tmux kill-session`, or the end of a connection."""
    ours, its = pty.openpty()
    with heard(signal.SIGHUP), launched(home, *terminal_of(*RUN_UP, "worker"), stdin=its, stdout=its) as run:
        os.close(its)
        wait_for(lambda: is_up(run), "readiness")
        os.close(ours)
        assert run.process.wait(GIVE_UP_S) == 0
        assert stopped_in_order(home)


def test_a_terminal_that_closes_is_nothing_below_nohup(home: Path) -> None:
    """What it would say finds nobody; it goes on, and stops when it is told to."""
    address = f"quarterdeck-test-{new_id().hex}"
    ours, its = pty.openpty()
    with listening(f"\0{address}") as told, ignored_and_blocked(signal.SIGHUP):
        command = terminal_of(*RUN_UP, "worker")
        with launched(home, *command, stdin=its, stdout=its, more={"NOTIFY_SOCKET": f"@{address}"}) as run:
            os.close(its)
            wait_for((home / "up.json").exists, "a beginning")
            os.close(ours)
            wait_for(lambda: "READY=1" in told(), "word that it is ready")
            run.kill("worker")
            assert is_up(run)
            run.process.send_signal(signal.SIGTERM)
            assert run.process.wait(GIVE_UP_S) == 0
            assert stopped_in_order(home)


def need_containers() -> None:
    need_program("unshare", "apt-get install util-linux")
    tried = subprocess.run([*IN_A_CONTAINER, "true"], capture_output=True, check=False)
    need(
        present=tried.returncode == 0,
        what="root that may make name spaces",
        install="run the tests as root, privileged",
    )


def children(first: psutil.Process) -> list[tuple[psutil.Process, str, list[str]]]:
    """Those that are there, with status and command line; one that has ended has none."""
    found: list[tuple[psutil.Process, str, list[str]]] = []
    for child in first.children():
        with suppress(psutil.NoSuchProcess):
            status = child.status()
            found.append((child, status, [] if status == psutil.STATUS_ZOMBIE else child.cmdline()))
    return found


def test_as_the_first_process_of_a_container_it_reaps_orphans_and_stops(home: Path) -> None:
    """With nothing to read from or to write to: the next file that it opens is no standard output."""
    need_containers()
    shell = ("/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")
    with launched(home, *IN_A_CONTAINER, *shell, *RUN_UP, "orphaning", "orphans.LOOKS=2") as run:
        wait_for(lambda: run.parts().get("worker", {}).get("state") == "ready", "readiness")
        [first] = psutil.Process(run.process.pid).children()
        [worker] = [child for child, _, words in children(first) if "orphaning" in words]
        worker.kill()  # by us, and the supervisor still learns of it
        wait_for(
            lambda: run.parts()["worker"]["restarts"] == 1 and run.parts()["worker"]["state"] == "ready", "a restart"
        )
        wait_for(
            lambda: not any(status == psutil.STATUS_ZOMBIE or "sleep" in words for _, status, words in children(first)),
            "the end of the orphans",
        )
        first.terminate()
        assert run.process.wait(GIVE_UP_S) == 0
        assert stopped_in_order(home)


def test_the_first_process_of_a_container_hears_signals_before_anything_runs(tmp_path: Path) -> None:
    """What it does not handle the kernel keeps from it."""
    need_containers()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        command = [*IN_A_CONTAINER, sys.executable, "-c", TELLS_THAT_IT_HEARS]
        with heard(signal.SIGHUP), subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "told\n"
                [first] = psutil.Process(process.pid).children()
                first.send_signal(number)
                assert process.wait(GIVE_UP_S) == 0
            finally:
                process.kill()


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["down"], ["doctor"], ["doctor", "--json"]])
def test_a_command_whose_output_nobody_reads_says_no_more(home: Path, words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "workers", *words], env=environment(home), cwd="/", stdout=writing, stderr=subprocess.PIPE,
        text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.parametrize(("limit", "is_ok"), [("-n 64", False), ("-n 4096", True), ("-f 1000", False)])
def test_doctor_says_which_limits_are_too_low(limit: str, is_ok: bool) -> None:
    need(
        present=resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 4096, what="4096 open files", install="ulimit -Hn 4096"
    )
    code = "from workers.embedded.limits import check_limits; print(check_limits().ok)"
    shown = subprocess.run(
        ["/bin/sh", "-c", f"ulimit {limit} && exec {sys.executable} -c '{code}'"], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        timeout=TIMEOUT_S, check=True,
    )  # fmt: skip
    assert shown.stdout == f"{is_ok}\n"


def test_doctor_says_that_the_manager_cannot_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_service_manager() is None
    with listening(str(tmp_path / "manager")):
        for address, is_ok in ((tmp_path / "manager", True), (tmp_path / "nobody", False), ("vsock:2:1", False)):
            monkeypatch.setenv("NOTIFY_SOCKET", str(address))
            found = check_service_manager()
            assert found is not None
            assert found.ok is is_ok
