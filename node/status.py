"""The lock that means "the agent of this machine is alive", and the public facts beside it.

The lock decides, the file informs: whoever holds `agent.lock` is the agent, however old the process id in `agent.json` is.
The kernel drops the lock with the process, so no crash leaves a stale one.
"""

import fcntl
import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from node.private_files import read_json, write_json

LOCK_FILE = "agent.lock"
STATUS_FILE = "agent.json"
LOCK_WAIT_S = 2.0
"""A look at the lock from outside holds it for microseconds; a start that meets one tries again for this long."""


def take_lock(home: Path, *, wait_s: float = LOCK_WAIT_S) -> int | None:
    """The descriptor of the lock, to be kept open for life; None when another agent holds it."""
    descriptor = os.open(home / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(0.02)
        else:
            return descriptor


log = logging.getLogger(__name__)


class Status:
    """What anyone on this machine may know about the agent; replaced atomically at each change.

    Made where it can be written: nobody would find an agent that says nothing of itself. From then on a full disk stops nothing:
    what it refuses is written by `catch_up`.
    """

    def __init__(self, home: Path, *, generation: int, machine_key: str) -> None:
        self._path = home / STATUS_FILE
        self.boot_id = str(uuid4())
        self.previous_port = _last_port(self._path)
        self._facts: dict[str, object] = {
            "pid": os.getpid(),
            "boot_id": self.boot_id,
            "host": None,
            "port": None,
            "started_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "generation": generation,
            "machine_key": machine_key,
            "state": "starting",
            "error": None,
        }
        self._is_behind = False
        write_json(self._path, self._facts)

    def listening(self, host: str, port: int) -> None:
        self._facts |= {"host": host, "port": port}
        self._write()

    def enter(self, state: str, *, error: str | None = None) -> None:
        """`state` is starting, serving, stopped (told to) or failed (cannot serve); `error` is one line for people."""
        self._facts |= {"state": state, "error": error}
        self._write()

    def catch_up(self) -> None:
        if self._is_behind:
            self._write()

    def _write(self) -> None:
        try:
            write_json(self._path, self._facts)
        except OSError as error:
            if not self._is_behind:
                log.warning("%s cannot be written: %s", STATUS_FILE, error.strerror)
            self._is_behind = True
        else:
            self._is_behind = False


def _last_port(path: Path) -> int | None:
    try:
        port = (read_json(path) or {}).get("port")
    except ValueError:
        return None
    return port if isinstance(port, int) else None
