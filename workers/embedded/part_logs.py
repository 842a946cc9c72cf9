"""The logs of the parts: short enough while the programs have them open, and a few older ones beside each.

A program is given the file itself, opened for appending. Nothing stands between that could be killed, or hold the program up:
what it has written is in the file. So the beginning goes to `name.log.1` and is taken out of the file, below the program's feet.
"""

import ctypes
import os
import sys
import threading
from pathlib import Path

COLLAPSE_RANGE = 0x08  # linux/falloc.h
CHUNK_BYTES = 1 << 20
LONGEST_LINE_BYTES = 1 << 16
"""A beginning ends with a line. Where there is no end of one within so many bytes, it ends anywhere."""


class PartLogs:
    """The logs in one folder. Several threads may use it."""

    def __init__(self, folder: Path, *, limit_bytes: int, kept: int) -> None:
        self._folder, self._limit_bytes, self._kept = folder, limit_bytes, kept
        self._begun: set[Path] = set()
        self._lock = threading.Lock()

    def of_this_run(self, name: str) -> Path:
        """The log of this part, which begins anew with the run of `up`; a restarted part goes on in it. Raises OSError."""
        log = self._folder / f"{name}.log"
        with self._lock:
            if log not in self._begun:
                self._begun.add(log)
                _age(log, self._kept)
                if log.exists():
                    log.replace(_older(log, 1))
        return log

    def shorten(self) -> None:
        """To be called every now and then. Raises the first OSError, after all the logs have had their turn."""
        failures: list[OSError] = []
        with self._lock:
            for log in self._begun:
                try:
                    if log.exists() and log.stat().st_size > self._limit_bytes:
                        _shorten(log, self._kept)
                except OSError as error:
                    failures.append(error)
        if failures:
            raise failures[0]


def _older(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")


def _age(log: Path, kept: int) -> None:
    """Each older log becomes one older, so that there is none of number 1; those beyond `kept` are gone."""
    suffixes = [path.name.removeprefix(f"{log.name}.") for path in log.parent.glob(f"{log.name}.*")]
    for number in sorted((int(suffix) for suffix in suffixes if suffix.isdecimal()), reverse=True):
        if number >= kept:
            _older(log, number).unlink()
        else:
            _older(log, number).replace(_older(log, number + 1))


def _shorten(log: Path, kept: int) -> None:
    """Killed at any line, this leaves every line somewhere: twice, where the beginning was copied and not yet taken out.

    The older logs move on when the copy is made: on a full disk none is, at every look, and they would all move out.
    """
    partial = log.with_name(f".{log.name}.partial")
    with log.open("r+b") as source, partial.open("wb") as target:
        end = _end_of_lines(source.fileno())
        _copy(source.fileno(), target.fileno(), 0, end)
        _age(log, kept)
        partial.replace(_older(log, 1))
        block = os.fstatvfs(source.fileno()).f_bsize
        taken_out = (min(end, os.fstat(source.fileno()).st_size - 1) // block) * block
        os.pwrite(source.fileno(), _notice(log, end - taken_out), taken_out)
        if _collapse(source.fileno(), taken_out):
            return
        # What is written between the last look and the cut is lost: some microseconds' worth, on a file system without the above.
        while end < (size := os.fstat(source.fileno()).st_size):
            _copy(source.fileno(), target.fileno(), end, size)
            end = size
        os.ftruncate(source.fileno(), 0)


def _end_of_lines(file: int) -> int:
    size = os.fstat(file).st_size
    from_byte = max(0, size - LONGEST_LINE_BYTES)
    newline = os.pread(file, size - from_byte, from_byte).rfind(b"\n")
    return size if newline < 0 else from_byte + newline + 1


def _copy(source: int, target: int, begin: int, end: int) -> None:
    while begin < end:
        chunk = memoryview(os.pread(source, min(CHUNK_BYTES, end - begin), begin))
        if not chunk:
            raise OSError("the log became shorter while it was copied")
        begin += len(chunk)
        while chunk:
            chunk = chunk[os.write(target, chunk) :]


def _collapse(file: int, length: int) -> bool:
    """Take out the first `length` bytes, whole blocks, whoever is appending meanwhile. False where the file system cannot.

    ext4 and XFS can (fallocate(2)); tmpfs, btrfs and macOS cannot.
    """
    if sys.platform != "linux" or length <= 0:
        return False
    return ctypes.CDLL(None).fallocate(file, COLLAPSE_RANGE, ctypes.c_long(0), ctypes.c_long(length)) == 0  # type: ignore[no-any-return]


def _notice(log: Path, length: int) -> bytes:
    """A line of so many bytes, over the rest of a block whose lines are in the older log."""
    text = f"-- earlier lines are in {log.name}.1 --"
    return (text if len(text) < length else "").ljust(length - 1).encode() + b"\n" if length else b""
