"""Crash points: named lines at which the chaos tests kill this process with SIGKILL, as a power cut would.

An activity that touches the world declares its points and passes them on its way:

    @activity.defn
    @crash_points("before_call", "after_call")
    async def create_machine(self, request: CreateMachine) -> Machine:
        crash_point("create_machine", "before_call")
        machine = await self._compute.create(spec, boot)
        crash_point("create_machine", "after_call")
        return machine

Every declared activity also has `after_return`, which the worker's interceptor reaches once the result exists and before
the server hears of it. `CRASH_POINTS` is the list that the chaos tests walk.

`QUARTERDECK_CRASH_AT=create_machine:after_call` selects one point, `create_machine:after_call@3` its third pass in a process.
With `QUARTERDECK_CRASH_ONCE=<path>` the process creates that file first and survives if it is there already: one kill however
many processes and retries pass the line. Passes while it is there do not count.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

CRASH_AT: Final = "QUARTERDECK_CRASH_AT"
CRASH_ONCE: Final = "QUARTERDECK_CRASH_ONCE"

InnerPoint = Literal["before_call", "after_call"]
CrashPoint = Literal["before_call", "after_call", "after_return"]

CRASH_POINTS: dict[str, tuple[CrashPoint, ...]] = {}
"""Activity name -> its points in the order in which they are passed. Complete once every activity module is imported."""

_ORIGINS: dict[str, str] = {}
_PASSES: Counter[str] = Counter()
"""How often this process passed the selected point while that was armed."""

F = TypeVar("F", bound=Callable[..., Any])


class UnknownCrashPoint(ValueError):
    """A point that no activity declares: a typing error must not become a test that kills nothing."""


def crash_points(*points: InnerPoint, name: str | None = None) -> Callable[[F], F]:
    """Declare the points of an activity; both inner ones unless some are named, `after_return` always.

    `name` is the activity's name where it is not the function's. Raises UnknownCrashPoint for a point outside the
    vocabulary and ValueError for a second activity of the same name: both while the module is imported.
    """
    chosen = points or get_args(InnerPoint)
    for point in chosen:
        if point not in get_args(InnerPoint):
            raise UnknownCrashPoint(f"{point!r} is no crash point: {', '.join(get_args(InnerPoint))}")

    def declare(function: F) -> F:
        activity_name = name or function.__name__
        origin = f"{function.__module__}.{function.__qualname__}"
        if _ORIGINS.setdefault(activity_name, origin) != origin:  # the sandbox imports a module again: same origin
            raise ValueError(
                f"crash points of {activity_name!r} are declared by {_ORIGINS[activity_name]} and {origin}"
            )
        CRASH_POINTS[activity_name] = (*(point for point in get_args(InnerPoint) if point in chosen), "after_return")
        return function

    return declare


def crash_point(activity_name: str, point: CrashPoint) -> None:
    """Kill this process here if the environment selects this point; otherwise do nothing.

    Raises UnknownCrashPoint where the activity never declared it, selected or not.
    """
    if point not in CRASH_POINTS.get(activity_name, ()):
        raise UnknownCrashPoint(f"{activity_name}:{point} is passed but not declared")
    selected, _, nth = os.environ.get(CRASH_AT, "").partition("@")
    if selected == f"{activity_name}:{point}" and _is_due(int(nth or 1)) and _first_time():
        os.kill(os.getpid(), signal.SIGKILL)


def every_crash_point() -> list[str]:
    """All selections in the form of `QUARTERDECK_CRASH_AT`, sorted by activity."""
    return [
        f"{activity_name}:{point}" for activity_name in sorted(CRASH_POINTS) for point in CRASH_POINTS[activity_name]
    ]


def refuse_unknown_selection() -> None:
    """Called when a worker starts, with all its activities imported. Raises UnknownCrashPoint for a selection of nothing."""
    selected, _, nth = os.environ.get(CRASH_AT, "").partition("@")
    if selected and (selected not in every_crash_point() or not (nth or "1").isdecimal()):
        raise UnknownCrashPoint(
            f"{CRASH_AT}={os.environ[CRASH_AT]} names no crash point: {', '.join(every_crash_point()) or 'none exist'}"
        )


def _is_due(nth: int) -> bool:
    marker = os.environ.get(CRASH_ONCE)
    if marker and Path(marker).exists():
        return False
    _PASSES[os.environ[CRASH_AT]] += 1
    return _PASSES[os.environ[CRASH_AT]] >= nth


def _first_time() -> bool:
    marker = os.environ.get(CRASH_ONCE)
    if not marker:
        return True
    try:
        Path(marker).touch(exist_ok=False)  # O_CREAT|O_EXCL: of several processes at the line, one is killed
    except FileExistsError:
        return False
    return True
