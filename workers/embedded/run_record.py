"""`up.json`, the record of what runs. On a full disk it is written into room that it already has: `status` sees what is so."""

import contextlib
import ctypes
import json
import os
import sys
import threading
from collections.abc import Iterable, Mapping

from models.base.clock import rfc3339
from workers.embedded.home import Home, mark_of, write_private
from workers.embedded.processes import ProcessIdentity
from workers.embedded.supervisor import SupervisedPart

ROOM_BYTES = 16_384
"""The record is filled up with blanks to a multiple of this, so that the next one fits into its place."""

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # renameat2(2)


class RunRecord:
    """Several threads may use it. What could not be written is kept for `catch_up`."""

    def __init__(self, home: Home, supervisor: ProcessIdentity | None) -> None:
        self._path = home.run_record
        self._spare = self._path.with_name(f".{self._path.name}.spare")
        self._mark = mark_of(home)
        self._supervisor = supervisor
        self._unwritten: str | None = None
        self._lock = threading.Lock()

    def note(self, parts: Iterable[SupervisedPart]) -> None:
        """Never fails: whatever the disk is like, a part is looked after."""
        supervisor = None if self._supervisor is None else {**vars(self._supervisor)}
        record = {**self._mark, "supervisor": supervisor, "parts": [_record_of(part) for part in parts]}
        text = json.dumps(record, indent=1)
        text = text.ljust((len(text) // ROOM_BYTES + 1) * ROOM_BYTES - 1) + "\n"
        with self._lock:
            self._unwritten = text
            try:
                self._write()
            except OSError:
                return  # `catch_up` says it, and tries again

    def catch_up(self) -> None:
        """Write what could not be written when it was noted. Raises OSError."""
        with self._lock:
            self._write()

    def remove(self) -> None:
        """A record that cannot be removed, on a disk that has become read-only, harms nobody: what it names does not run."""
        with self._lock, contextlib.suppress(OSError):
            self._unwritten = None
            self._path.unlink(missing_ok=True)
            self._spare.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._unwritten is None:
            return
        try:
            if not self._spare.exists() or self._spare.stat().st_size != len(self._unwritten):
                write_private(self._spare, self._unwritten)
            write_private(self._path, self._unwritten)
        except OSError:
            if not self._written_into_spare(self._unwritten.encode()):
                raise
        self._unwritten = None

    def _written_into_spare(self, record: bytes) -> bool:
        """The spare file and the record change places. False where there is no spare, or none of this size."""
        try:
            descriptor = os.open(self._spare, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            if os.fstat(descriptor).st_size != len(record) or os.pwrite(descriptor, record, 0) != len(record):
                return False
        except OSError:
            return False
        finally:
            os.close(descriptor)
        if not _exchange(os.fsencode(self._spare), os.fsencode(self._path)):
            self._spare.replace(self._path)
        return True


def _exchange(one: bytes, other: bytes) -> bool:
    """Two names change places at once. False where the system cannot, or one of them is missing."""
    library = ctypes.CDLL(None)
    if sys.platform != "linux" or not hasattr(library, "renameat2"):
        return False
    return library.renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) == 0  # type: ignore[no-any-return]


def _record_of(part: SupervisedPart) -> Mapping[str, object]:
    identity = part.identity
    return {
        "name": part.part.name,
        "state": part.state.value,
        "since": rfc3339(part.since),
        "restarts": part.restarts,
        "port": part.part.port,
        "url": part.part.url,
        "stop_signal": None if part.spec is None else int(part.spec.stop_signal),
        "process": None if identity is None else {**vars(identity)},
    }
