"""The first process of a container inherits every orphan in it. Who has ended stays in the table until somebody waits for it."""

import contextlib
import os
from collections import Counter

import psutil

FIRST_PROCESS = 1
LOOKS = 10
"""A busy machine may take a while to run the thread that waits for a process of ours."""


class Orphans:
    """Call `reap` every now and then. Nothing happens unless this is the first process."""

    def __init__(self) -> None:
        self._seen: Counter[int] = Counter()

    def reap(self) -> None:
        """For what we started ourselves somebody waits, who takes its exit status at once: what has ended and is still there
        after so many looks is nobody's.
        """
        if os.getpid() != FIRST_PROCESS or not _has_any_ended():
            return
        self._seen = Counter({pid: self._seen[pid] + 1 for pid in _ended()})
        for pid, looks in self._seen.items():
            if looks >= LOOKS:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def _has_any_ended() -> bool:
    """Without taking anybody's exit status."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _ended() -> set[int]:
    found = set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_ZOMBIE:
                found.add(child.pid)
    return found
