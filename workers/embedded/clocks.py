"""Whether this machine's clock and the database's show the same time: for `doctor`.

Nothing is decided by a machine's clock (docs/decisions/0062-one-clock.md). But logs are read by it, and what a provider on this
machine bills; and whoever looks at a moment that the API shows takes it for their own time.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from workers.embedded.finding import Finding

if TYPE_CHECKING:
    from models.settings import Settings

TOLERATED_S = 5.0
"""More than a round trip and what NTP lets pass."""
CONNECT_TIMEOUT_S = 3


def check_clock_of_database(settings: "Settings") -> Iterator[Finding]:
    """Of a PostgreSQL that is not `up`'s own. Nothing for one that cannot be asked: another check says why."""
    given = settings.database_url or settings.database_url_worker or settings.database_url_api
    if given is None:
        return
    difference_s = _ahead_s(given.get_secret_value())
    if difference_s is None:
        return
    if abs(difference_s) <= TOLERATED_S:
        yield Finding("clock of the database", ok=True, text="the same as here")
        return
    direction = "ahead of" if difference_s > 0 else "behind"
    yield Finding(
        "clock of the database",
        ok=False,
        text=f"this machine is {abs(difference_s):.0f} s {direction} it",
        remedy="Set both by NTP: times in logs, and what `local` bills, are this machine's; all others are the database's",
    )


def _ahead_s(url: str) -> float | None:
    """By how many seconds this machine's clock is ahead of the database's; None where that cannot be learnt."""
    import psycopg  # noqa: PLC0415  (the doctor works without it)

    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S, autocommit=True) as connection:
            asked_at = time.time()
            answer = connection.execute("SELECT extract(epoch FROM clock_timestamp())::double precision").fetchone()
            took_s = time.time() - asked_at
    except psycopg.Error:
        return None
    return None if answer is None else asked_at + took_s / 2 - float(answer[0])
