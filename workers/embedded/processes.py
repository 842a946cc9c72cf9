"""One child process of the stack: how it is started, recognised later, and stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from workers.embedded import owned_exec
from workers.embedded.account import Account

POLL_S = 0.02
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LAST_BYTES = 65_536
STARTTIME_AFTER_NAME = 19  # field 22 of /proc/PID/stat, counted after the name in brackets


@dataclass(frozen=True)
class ProcessSpec:
    """What to run. `stop_signal` asks it to finish; it is also what it gets when its supervisor is killed."""

    name: str
    argv: tuple[str, ...]
    log: Path
    cwd: Path
    env: Mapping[str, str] = field(repr=False)
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 4.0

    def owned_argv(self) -> list[str]:
        return owned_argv(self.argv, self.stop_signal, self.account)


def owned_argv(argv: Sequence[str], stop_signal: signal.Signals, account: Account | None) -> list[str]:
    """The command line that runs `argv` as `account` and ends when this process does.

    Linux takes the starting thread for the parent: start it from one that lives as long as the process.
    """
    uid, gid = ("-", "-") if account is None else (str(account.uid), str(account.gid))
    shim = [sys.executable, "-I", "-S", owned_exec.__file__]
    return [*shim, str(os.getpid()), str(int(stop_signal)), uid, gid, "--", *argv]


@dataclass(frozen=True)
class ProcessIdentity:
    """Enough to know a process again later: process ids are reused, start times and command lines together are not."""

    pid: int
    started: str
    argv: tuple[str, ...]

    def find(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            if start_of(self.pid) != self.started or process.status() == psutil.STATUS_ZOMBIE:
                return None
            command = tuple(process.cmdline())
        except (OSError, psutil.Error):
            return None
        becoming = not command  # the system shows none while one program replaces itself by the next
        return process if becoming or command[-len(self.argv) :] == self.argv else None


def identify(pid: int, argv: tuple[str, ...]) -> ProcessIdentity | None:
    try:
        return ProcessIdentity(pid, start_of(pid), argv)
    except (OSError, psutil.Error):
        return None


def start_of(pid: int) -> str:
    """When the process started. On Linux in clock ticks since this boot (proc(5)): setting the clock does not change it.

    Raises OSError or psutil.Error when there is no such process.
    """
    if sys.platform != "linux":
        return repr(psutil.Process(pid).create_time())
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return f"{BOOT_ID.read_text().strip()}/{after_name[STARTTIME_AFTER_NAME]}"


def command_line(pid: int) -> list[str]:
    """As the system shows it; empty for a process that is gone or not ours to see."""
    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error:
        return []


def spawn(spec: ProcessSpec) -> subprocess.Popen[bytes]:
    """The started process, in a session of its own: a Ctrl-C at the terminal does not reach it."""
    spec.log.parent.mkdir(parents=True, exist_ok=True)
    with spec.log.open("ab") as log:
        return subprocess.Popen(
            spec.owned_argv(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=spec.cwd,
            env=dict(spec.env),
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes], spec: ProcessSpec) -> None:
    """The process is gone when this returns: asked first, then killed with its group."""
    if process.poll() is None:
        process.send_signal(spec.stop_signal)
        try:
            process.wait(spec.stop_timeout_s)
        except subprocess.TimeoutExpired:
            kill_group(process.pid)
    process.wait()


def kill_group(pid: int) -> None:
    """SIGKILL to the group that this process leads, where it still exists."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def end(identity: ProcessIdentity, stop_signal: signal.Signals, timeout_s: float) -> bool:
    """End a process that is not our child. False when it was not running any more."""
    process = identity.find()
    if process is None:
        return False
    process.send_signal(stop_signal)
    deadline = time.monotonic() + timeout_s
    while identity.find() is not None and time.monotonic() < deadline:
        time.sleep(POLL_S)
    if identity.find() is not None:
        kill_group(identity.pid)
    while identity.find() is not None:
        time.sleep(POLL_S)
    return True


def wait_until_ready(
    process: subprocess.Popen[bytes], spec: ProcessSpec, probe: Callable[[], bool], timeout_s: float
) -> None:
    """Returns when `probe()` is true. Raises RuntimeError when the process ends before, or after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not probe():
        if process.poll() is not None:
            raise RuntimeError(f"{spec.name} ended with {process.returncode}: {last_line(spec.log)}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{spec.name} was not ready within {timeout_s:.0f} s: {last_line(spec.log)}")
        time.sleep(POLL_S)


def last_line(log: Path, limit: int = 300) -> str:
    """The program's last words, without the name that it signs them with: they become part of a line of ours."""
    lines = last_lines(log, 1)
    if lines is None:
        return "no log"
    return lines[0].removeprefix("quarterdeck: ")[:limit] if lines else "its log is empty"


def last_lines(log: Path, count: int = 10) -> list[str] | None:
    """The last lines that are not blank, in order; None where there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LAST_BYTES))
            text = file.read(LAST_BYTES).decode(errors="replace")
    except OSError:
        return None
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
