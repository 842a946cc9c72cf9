"""Room on the disk of the home: whether there is some, and a reserve for the moment when there is none.

Programs on a full disk do not need much to stop in order, PostgreSQL a segment of its log: the reserve is let go then.
"""

import os
import shutil
import tempfile
from pathlib import Path

from workers.embedded.finding import Finding

MB = 1 << 20
RESERVE_BYTES = 32 * MB
LOW_BYTES = 32 * MB
"""With less than this the next segment of PostgreSQL's log (16 MB) may be the last one."""
PROBE_BYTES = 4096
RESERVE_FILE = "reserve"


def shortage(folder: Path, least_bytes: int | None = None) -> str | None:
    """Why files in the folder cannot grow, or will soon be unable to, in a few words; None while there is room.

    It is tried, not only looked up: quotas, used-up inodes and a disk that has become read-only count too.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(bytes(PROBE_BYTES))
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return error.strerror or str(error)
    return f"{free // MB} MB are left" if free < (LOW_BYTES if least_bytes is None else least_bytes) else None


class Reserve:
    """A file of `RESERVE_BYTES` in the home that nobody reads."""

    def __init__(self, home: Path) -> None:
        self._file = home / RESERVE_FILE

    def is_kept(self) -> bool:
        try:
            return self._file.stat().st_size >= RESERVE_BYTES
        except FileNotFoundError:
            return False

    def fits(self) -> bool:
        """Whether making it would leave room for the others."""
        return shutil.disk_usage(self._file.parent).free >= RESERVE_BYTES + 2 * LOW_BYTES

    def keep(self) -> None:
        """It is there, unless the disk has no room to spare. Raises OSError."""
        if self.is_kept() or not self.fits():
            return
        partial = self._file.with_name(f".{RESERVE_FILE}.partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _allocate(descriptor)
            partial.replace(self._file)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def release(self) -> None:
        self._file.unlink(missing_ok=True)


def _allocate(descriptor: int) -> None:
    """Blocks of its own: a file with a hole would be no reserve."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        return
    for _ in range(RESERVE_BYTES // MB):
        os.write(descriptor, bytes(MB))


def check_reserve(home: Path) -> Finding:
    """For `quarterdeck doctor`. `home` is the home, or the folder nearest to it that exists."""
    reserve = Reserve(home)
    return Finding(
        "reserve",
        ok=reserve.is_kept() or reserve.fits(),
        text=f"{RESERVE_BYTES // MB} MB to stop in order on a full disk",
        remedy="There is no room to keep them: free some space",
    )
