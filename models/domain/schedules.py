"""Schedules: what is done again and again for a resource, by a row. How it is timed, and how far Temporal is behind the row."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from models.base.errors import AppError, InvalidRequest

UTC: Final = "UTC"
SHORTEST_INTERVAL_S: Final = 60
"""As of a cron expression: each run is an execution of its own (docs/decisions/0081)."""

LONGEST_INTERVAL_S: Final = 366 * 86_400
CRON_FIELD: Final = re.compile(r"[0-9A-Za-z*/,?-]{1,100}")


class Overlap(StrEnum):
    """What happens where the time has come and the run before still goes on."""

    SKIP = "skip"  # it does not begin
    BUFFER_ONE = "buffer_one"  # one more begins when that one ends
    ALLOW = "allow"  # it begins beside it


class ScheduleState(StrEnum):
    PENDING = "pending"  # Temporal has not heard of what the row says
    APPLIED = "applied"
    REFUSED = (
        "refused"  # Temporal does not take it and has none; `error_code` says why, and only another revision is tried
    )
    REMOVING = "removing"  # the row goes when Temporal's schedule has gone


@dataclass(frozen=True)
class Timing:
    """When: a cron expression, read in the time zone, or an interval in whole seconds, counted from the epoch in UTC."""

    cron: str | None = None
    interval_s: int | None = None
    time_zone: str = UTC


def every(interval_s: int) -> Timing:
    return Timing(interval_s=interval_s)


def checked(timing: Timing) -> Timing:
    """The same. Raises InvalidRequest for what cannot be meant; on a cron expression's numbers Temporal has the last word."""
    if (timing.cron is None) == (timing.interval_s is None):
        raise _invalid("a schedule has either a cron expression or an interval")
    if timing.interval_s is not None and not SHORTEST_INTERVAL_S <= timing.interval_s <= LONGEST_INTERVAL_S:
        raise _invalid(f"an interval is {SHORTEST_INTERVAL_S} to {LONGEST_INTERVAL_S} seconds long")
    if timing.cron is not None and not _is_cron(timing.cron):
        raise _invalid("a cron expression has five fields: minute, hour, day of month, month, day of week")
    if not _is_time_zone(timing.time_zone):
        raise _invalid("there is no such time zone; they have names such as Europe/Paris")
    return timing


def _is_cron(expression: str) -> bool:
    fields = expression.split()
    return len(fields) == 5 and all(CRON_FIELD.fullmatch(field) for field in fields)


def _is_time_zone(name: str) -> bool:
    try:
        return name == UTC or bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="SCHEDULE_INVALID")


class ScheduleRefused(AppError):
    """Temporal does not take what one row says: a cron expression with a 61st minute, for one."""

    code = "SCHEDULE_REFUSED"


class NoSchedules(AppError):
    """The server takes no schedules at all, or none of ours."""

    code = "NO_SCHEDULES"
