"""Which processes the tests left behind: ended, and reported as a failure of the session."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

OF_PYTHON_ITSELF = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Python ends these when the test process ends."""

GRACE_S = 3.0


def left_behind(*folders: Path) -> list[psutil.Process]:
    """Living children of this process, and processes that were started with a path below one of `folders` (detached ones)."""
    children = {process.pid: process for process in psutil.Process().children(recursive=True)}
    detached = {process.pid: process for process in psutil.process_iter() if _names_one_of(folders, _command(process))}
    return [process for process in {**detached, **children}.values() if _counts(process)]


def end(left: list[psutil.Process]) -> list[str]:
    """The command lines of those that did not end by themselves within a moment; all of them are gone afterwards."""
    _, alive = psutil.wait_procs(left, timeout=GRACE_S)
    commands = [f"{process.pid}: {_command(process)[:200]}" for process in alive if _counts(process)]
    for process in alive:
        with suppress(psutil.NoSuchProcess):  # it ended by itself after all
            process.kill()
    psutil.wait_procs(alive, timeout=GRACE_S)
    return commands


def _names_one_of(folders: Iterable[Path], command: str) -> bool:
    return any(str(folder) in command for folder in folders)


def _counts(process: psutil.Process) -> bool:
    try:
        alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
    return (
        alive
        and process.pid != psutil.Process().pid
        and not any(name in _command(process) for name in OF_PYTHON_ITSELF)
    )


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
