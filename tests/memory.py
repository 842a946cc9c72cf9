"""A folder in memory, for what need not outlive the session: on a disk that is busy, a database takes ten times as long to copy."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

SHARED_MEMORY = Path("/dev/shm")
PREFIX = "quarterdeck-tests-"
LEAST_FREE_BYTES = 2 << 30
"""A server takes some 300 MB, and `make test` has four; so does the home of an installation. A container has 64 MB by default."""


def folder_of_this_session(shared_memory: Path = SHARED_MEMORY) -> Path:
    """Where all that this process has in memory lies, if it has something there."""
    return shared_memory / f"{PREFIX}{os.getpid()}"


@contextmanager
def folder_in_memory(name: str, otherwise: Path, *, shared_memory: Path = SHARED_MEMORY) -> Iterator[Path]:
    """A folder that anybody may pass through, gone afterwards; `otherwise` where there is not enough memory to spare.

    `otherwise` gets the logs in any case, for who looks into a failure.
    """
    if not _has_room(shared_memory):
        yield otherwise
        return
    _remove_left_behind(shared_memory)
    session = folder_of_this_session(shared_memory)
    folder = session / name
    for made in (session, folder):
        made.mkdir(exist_ok=True)
        made.chmod(0o711)
    try:
        yield folder
    finally:
        _keep_logs(folder, otherwise)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # another folder of this session
            session.rmdir()


def _keep_logs(folder: Path, kept: Path) -> None:
    for log in folder.rglob("*.log"):
        target = kept / log.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, target)


def _has_room(shared_memory: Path) -> bool:
    if not os.access(shared_memory, os.W_OK | os.X_OK):
        return False
    return shutil.disk_usage(shared_memory).free >= LEAST_FREE_BYTES


def _remove_left_behind(shared_memory: Path) -> None:
    """Of sessions that were killed: nobody else would, until the machine restarts."""
    for folder in shared_memory.glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX)
        if not owner.isdecimal() or not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
