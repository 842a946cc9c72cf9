"""A running `quarterdeck up` in a process of its own, on free ports, with small programs in place of ours."""

import errno
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.memory import folder_in_memory, folder_of_this_session
from tests.patience import GIVE_UP_S, OF_A_STACK_S
from workers.embedded.home import Home
from workers.embedded.leftovers import identity_from, recorded_parts
from workers.embedded.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("postgres", "temporal", "simcloud", "api", "worker")
TIMEOUT_S = GIVE_UP_S
SOMEBODY_ELSE = 65_534
"""A uid that is not ours, to give files to."""


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:.0f} s"
        time.sleep(0.02)


def environment(home: Path, **more: str) -> dict[str, str]:
    names = ("API_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "SIMCLOUD_PORT")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("QUARTERDECK_")},
        "PYTHONPATH": str(ROOT),
        "QUARTERDECK_HOME": str(home),
        **{f"QUARTERDECK_{name}": str(free_port()) for name in names},
        **more,
    }


@dataclass
class Up:
    """One run of `up`."""

    home: Path
    env: Mapping[str, str] = field(repr=False)
    process: subprocess.Popen[str]
    output: Path

    def parts(self) -> dict[str, dict[str, object]]:
        return {str(part["name"]): dict(part) for part in recorded_parts(Home(self.home))}

    def pids(self) -> dict[str, int]:
        identities = {name: identity_from(part["process"]) for name, part in self.parts().items()}
        return {name: identity.pid for name, identity in identities.items() if identity is not None and identity.find()}

    def is_ready(self, name: str) -> bool:
        return self.parts().get(name, {}).get("state") == "ready" and name in self.pids()

    def kill(self, name: str) -> None:
        """SIGKILL to the part; returns when another process has taken its place and is ready."""
        before = self.pids()[name]
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: self.pids().get(name, before) != before and self.is_ready(name), f"restart of {name}")

    def wait_until_ready(self) -> None:
        wait_for(lambda: "is ready after" in self.text() or self.process.poll() is not None, "readiness", OF_A_STACK_S)
        assert self.process.poll() is None, self.text()

    def text(self) -> str:
        return self.output.read_text()

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Returns when the process is gone, with its exit status."""
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)


def shown_on_a_terminal(home: Path, text: str) -> str:
    """What `up` shows where its output is a terminal, up to that text. It is stopped then."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("run_up.py")), "worker"],
        env=environment(home), stdin=subprocess.DEVNULL, stdout=its, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    os.close(its)
    shown = b""
    try:
        while text.encode() not in shown:
            readable, _, _ = select.select([ours], [], [], TIMEOUT_S)
            assert readable, f"nothing more came after {shown!r}"
            shown += os.read(ours, 65_536)
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
        os.close(ours)
    return shown.decode()


def options_for(home: Path) -> list[str]:
    """A home in memory has a copy of what initdb(1) made for the first one there."""
    folder = folder_of_this_session()
    return [f"--initialised={folder / 'initialised'}"] if home.is_relative_to(folder) else []


@contextmanager
def started(home: Path, *worker: str, env: Mapping[str, str] | None = None) -> Iterator[Up]:
    """`up` is started (not yet ready) inside the block; it and all it started are gone afterwards. `worker`: see run_up.py."""
    variables = env or environment(home)
    output = home.with_name(f"{home.name}-{time.monotonic_ns()}.txt")
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("run_up.py")), *(worker or ("worker",)), *options_for(home)],
            env=dict(variables), stdout=file, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
    run = Up(home, variables, process, output)
    try:
        yield run
    finally:
        left = [psutil.Process(pid) for pid in run.pids().values()]
        if process.poll() is None:
            process.terminate()
            process.wait(TIMEOUT_S)
        for one in left:
            if one.is_running():
                one.kill()


def command(env: Mapping[str, str], *arguments: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """`python -m workers ARGUMENTS` to its end: some of them start a whole database."""
    return subprocess.run(
        [sys.executable, *python, "-m", "workers", *arguments],
        env=dict(env), cwd="/", capture_output=True, text=True, timeout=OF_A_STACK_S, check=False,
    )  # fmt: skip


@contextmanager
def home_in_memory(folder: Path) -> Iterator[Path]:
    """The path of a home that is not there yet and gone afterwards, in memory where there is room (`tests/memory.py`): for what is not
    about the disk, on which four databases that start at once wait for each other.
    """
    with folder_in_memory(folder.name, folder) as parent:
        try:
            yield parent / "home"
        finally:
            forget(parent / "home")


def closed_to_us(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """As a file of another user's: permissions do not stop root."""
    really_open = os.open

    def refuse(path: str | Path, *arguments: int) -> int:
        if Path(path) == file:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really_open(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)


def forget(home: Path) -> None:
    """Remove what PostgreSQL keeps outside of the home when root runs it below a closed folder."""
    record = home / "postgres.json"
    if record.exists():
        folder = home / json.loads(record.read_text())["folder"]
        shutil.rmtree(folder, ignore_errors=True)
        if folder.parent != home:
            folder.with_name(f"{folder.name}.json").unlink(missing_ok=True)
