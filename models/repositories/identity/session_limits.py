"""After how long PostgreSQL ends what a session waits for or does, by the role that the session logs in as.

They are set where a process connects, with the options of the connection, and what the URL says prevails. `migrate`, `bootstrap`,
a backup and whoever logs in by hand have none (docs/decisions/0063-connections-by-purpose.md).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from models.settings.derived import DatabaseRole

LOCK_WAIT_S = 5.0
"""What a request waits for a lock: as long as for a connection, so that who waits does not keep connections from the others."""


@dataclass(frozen=True)
class SessionLimits:
    """None: no limit. PostgreSQL counts the wait for a lock as part of the statement."""

    lock_wait_s: float | None = None
    statement_s: float | None = None

    def options(self) -> Iterator[str]:
        """For libpq's `options`."""
        limits = {"lock_timeout": self.lock_wait_s, "statement_timeout": self.statement_s}
        return (f"-c {name}={limit_s * 1000:.0f}" for name, limit_s in limits.items() if limit_s is not None)


UNLIMITED = SessionLimits()
OF_ROLE: Mapping[DatabaseRole, SessionLimits] = {
    DatabaseRole.API: SessionLimits(lock_wait_s=LOCK_WAIT_S, statement_s=30.0),
    DatabaseRole.WORKER: SessionLimits(lock_wait_s=10.0, statement_s=60.0),
}
"""Somebody waits for the API's answer. Nobody does for an activity's, which is tried again: it is given twice the time."""

UPKEEP = SessionLimits(lock_wait_s=10.0)
"""What averages, deletes and looks over all rows takes the time that it takes."""
