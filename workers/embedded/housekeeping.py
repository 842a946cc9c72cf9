"""What a run of `up` does once a second beside its parts: it looks at the disk, and does what could not be done before.

What goes wrong is said once, and once more when it comes again. It stops nothing.
"""

import asyncio
import errno
from collections.abc import Callable

from workers.embedded import disk_space
from workers.embedded.disk_space import Reserve, shortage
from workers.embedded.home import Home
from workers.embedded.orphans import Orphans
from workers.embedded.part_logs import PartLogs
from workers.embedded.run_record import RunRecord

INTERVAL_S = 1.0
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Housekeeping:
    """`complain` gets one line at a time, from another thread; `disk_changed` what keeps files from growing, or None again."""

    def __init__(
        self,
        home: Home,
        logs: PartLogs,
        record: RunRecord,
        complain: Callable[[str], None],
        disk_changed: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._home, self._logs, self._record = home, logs, record
        self._complain, self._disk_changed = complain, disk_changed
        self._reserve = Reserve(home.path)
        self._orphans = Orphans()
        self._shortage: str | None = None
        self._told: dict[str, set[str]] = {}

    async def run(self) -> None:
        """Never returns."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(INTERVAL_S)

    def look(self) -> None:
        self._look_at_disk()
        self._attempt("the reserve for a full disk cannot be made", self._reserve.keep)
        self._attempt("the logs cannot be kept short", self._logs.shorten)
        self._attempt("the record of what runs cannot be written", self._record.catch_up)
        self._orphans.reap()

    def make_room_to_stop(self) -> None:
        """Let go of the reserve where the parts would find no room to stop in order. Never fails."""
        if shortage(self._home.path) is not None:
            self._attempt("the reserve for a full disk cannot be let go", self._reserve.release)

    def _look_at_disk(self) -> None:
        """Once it is short, twice the room is asked for: it would be said again with each file that comes and goes."""
        was_short = self._shortage is not None
        found = shortage(self._home.path, disk_space.LOW_BYTES * (2 if was_short else 1))
        self._shortage = found
        if found is not None and not was_short:
            self._complain(
                f"no room on the disk of {self._home.path} ({found}): what cannot be written waits or is left out, "
                "and goes on by itself when there is room"
            )
        elif found is None and was_short:
            self._complain(f"there is room again on the disk of {self._home.path}")
        if (found is not None) is not was_short:
            self._disk_changed(found)

    def _attempt(self, failed: str, action: Callable[[], None]) -> None:
        told = self._told.setdefault(failed, set())
        try:
            action()
        except OSError as error:  # it may not be for ever
            reason = error.strerror or str(error)
            is_known = self._shortage is not None and error.errno in NO_ROOM
            if reason not in told and not is_known:
                told.add(reason)
                self._complain(f"{failed}: {reason}")
        else:
            told.clear()
