"""Starting and ending node agents. The lock in a machine's folder says whether one is alive; nothing else does."""

import fcntl
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from models.base.errors import ProviderUnavailable

LAUNCH_TIMEOUT_S = 20.0
EXIT_DETACHED = 0
EXIT_RUNNING_ALREADY = 3
TERM_GRACE_S = 6.0
"""An agent ends within 5 s of SIGTERM (docs/node-agent.md); one that does not is killed."""
KILL_GRACE_S = 5.0
POLL_S = 0.02
PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip
"""All that an agent gets of our environment, which holds secrets of the installation: what it needs to reach the API too."""


def launch(home: Path) -> None:
    """Start the agent of this folder, as nobody's child, in a session of its own. Returns when it holds its lock.

    A live agent is left alone. The launched program forks before it does anything else, so no zombie stays with the caller,
    and neither the caller's death nor a signal to its process group reaches the agent.
    """
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    command = [sys.executable, "-P", "-m", "node", "--home", str(home), "--detach"]
    log = os.open(home / "agent.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home,
            env=environment | {"PYTHONPATH": _folder_of_node()},
            start_new_session=True,
            timeout=LAUNCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProviderUnavailable("the node agent did not start in time") from None
    finally:
        os.close(log)
    if done.returncode not in {EXIT_DETACHED, EXIT_RUNNING_ALREADY}:
        raise ProviderUnavailable(f"the node agent could not be started (exit code {done.returncode})")


def is_alive(lock_file: Path) -> bool:
    """Whether an agent holds the lock. The look itself shares it for an instant, which a starting agent waits out."""
    try:
        descriptor = os.open(lock_file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def stopped(lock_file: Path, claimed_pid: int | None) -> Iterator[None]:
    """End the agent, and hold its lock meanwhile: none can start until this is left.

    `claimed_pid` is what agent.json says; it is believed only of a process that has the lock file open. Raises
    ProviderUnavailable when the agent survives even SIGKILL.
    """
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _take(descriptor, within_s=0):
            _end_holder(descriptor, lock_file, claimed_pid)
        yield
    finally:
        os.close(descriptor)


def _end_holder(descriptor: int, lock_file: Path, claimed_pid: int | None) -> None:
    for end, grace_s in ((psutil.Process.terminate, TERM_GRACE_S), (psutil.Process.kill, KILL_GRACE_S)):
        holder = _holder(lock_file, claimed_pid)
        if holder is not None:
            try:
                end(holder)  # psutil signals no process that took over the id
            except psutil.NoSuchProcess:
                holder = None
        if _take(descriptor, within_s=grace_s):
            return
    raise ProviderUnavailable("the node agent does not end", details={"found": holder is not None})


def _holder(lock_file: Path, claimed_pid: int | None) -> psutil.Process | None:
    """The process that has the lock file open and is an agent of this folder."""
    candidates = [claimed_pid] if claimed_pid else []
    for pid in [*candidates, *psutil.pids()]:
        try:
            process = psutil.Process(pid)
            if "--home" in process.cmdline() and any(Path(file.path) == lock_file for file in process.open_files()):
                return process
        except psutil.Error:
            continue
    return None


def _take(descriptor: int, *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
        else:
            return True


def _folder_of_node() -> str:
    """The folder that the package `node` is imported from. The agent is a program of its own: it is found, not imported."""
    spec = importlib.util.find_spec("node")
    if spec is None or not spec.submodule_search_locations:
        raise ProviderUnavailable("the node agent is not installed")
    return str(Path(spec.submodule_search_locations[0]).resolve().parent)
