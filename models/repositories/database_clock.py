"""What time it is in the database, for a process that must know between two round trips."""

import time
from datetime import UTC, datetime, timedelta

from models.base.clock import utc_now


class DatabaseClock:
    """Set by every round trip of a listener, some seconds apart; in between it goes on by a clock that nobody sets.

    Where this machine's own clock stands, or is set to, does not matter. Before the first word of the database it is that clock
    all the same: nothing is known then that could be compared.
    """

    def __init__(self) -> None:
        self._heard: datetime | None = None
        self._heard_at_s = 0.0

    def hear(self, moment: datetime, asked_at_s: float) -> None:
        """The database's clock showed `moment` just after `asked_at_s`, a reading of `time.monotonic`."""
        self._heard, self._heard_at_s = moment.astimezone(UTC), asked_at_s

    def now(self) -> datetime:
        if self._heard is None:
            return utc_now()
        return self._heard + timedelta(seconds=time.monotonic() - self._heard_at_s)
