"""The served instances of this machine, as the node agents themselves show them: one folder each, whose lock the agent holds.

They belong to nobody and outlive every restart of the stack; only their owner, or `quarterdeck down --instances`, ends them.
"""

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from models.base.private_files import NotPrivate, read_private
from workers.embedded.processes import end, identify

LOCK_FILE, STATUS_FILE = "agent.lock", "agent.json"
STOP_TIMEOUT_S = 6.0
"""An agent finishes within 5 s of SIGTERM (docs/node-agent.md)."""


@dataclass(frozen=True)
class ServedInstance:
    folder: Path
    pid: int


def served_instances(instances_dir: Path) -> list[ServedInstance]:
    """Those whose agent is alive. The lock decides; the process id beside it must be of a process that has the lock open.

    A file with the process id that others can write is not believed: it says what `down --instances` ends.
    """
    if not instances_dir.is_dir():
        return []
    candidates = (_agent_of(folder) for folder in sorted(instances_dir.iterdir()))
    return [served for served in candidates if served is not None]


def end_instances(instances_dir: Path) -> int:
    """End every served instance of this machine. Returns how many there were."""
    served = served_instances(instances_dir)
    if served:
        with ThreadPoolExecutor(len(served)) as pool:
            list(pool.map(_end, served))
    return len(served)


def _end(served: ServedInstance) -> None:
    identity = identify(served.pid, tuple(psutil.Process(served.pid).cmdline()))
    if identity is not None:
        end(identity, signal.SIGTERM, STOP_TIMEOUT_S)


def _agent_of(folder: Path) -> ServedInstance | None:
    lock = folder / LOCK_FILE
    if not is_held(lock):
        return None
    try:
        pid = int(json.loads(read_private(folder / STATUS_FILE))["pid"])
        holds = any(Path(file.path) == lock.resolve() for file in psutil.Process(pid).open_files())
    except (NotPrivate, OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return ServedInstance(folder, pid) if holds else None


def is_held(lock: Path) -> bool:
    """Whether an agent holds the lock: then it is alive. False where there is no such file."""
    with _opened(lock) as descriptor:
        if descriptor is None:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
