"""The cloud's own clock: every timestamp it shows comes from here, and it may run ahead of or behind its customers'."""

import time
from datetime import UTC, datetime


class Clock:
    """Seconds since the epoch, shifted by `skew_s`, so that a customer who bills by his own clock is found out."""

    def __init__(self, skew_s: float = 0.0) -> None:
        self._skew_s = skew_s

    def now(self) -> float:
        return time.time() + self._skew_s


def moment(epoch_s: float) -> datetime:
    """To the microsecond: what is shown, and what is billed by."""
    return datetime.fromtimestamp(epoch_s, UTC)


def rfc3339(epoch_s: float) -> str:
    return moment(epoch_s).isoformat().replace("+00:00", "Z")


def rfc3339_or_none(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else rfc3339(epoch_s)
