"""Where each crash point is passed: the work that must be under way for a worker to be killed there."""

from enum import StrEnum
from typing import Final

from activities.runtime import crash
from workers.registry import CALLED_BY


class Work(StrEnum):
    PROVISION = "provision"
    REINSTALL = "reinstall"
    TERMINATE = "terminate"


PASSED_DURING: Final[dict[str, tuple[Work, ...]]] = {
    "freeze_machine_spec": (Work.PROVISION,),
    "create_machine": (Work.PROVISION,),
    "await_machine": (Work.PROVISION,),
    "restart_machine": (Work.REINSTALL,),
    "await_drained": (Work.TERMINATE,),
    "remove_machine": (Work.TERMINATE,),
    "project_instance": (Work.PROVISION, Work.REINSTALL, Work.TERMINATE),
}
"""Activity -> the kinds of work that pass its points."""


PASSED_ELSEWHERE: Final = frozenset({"reconcile_schedules", "order_scheduled"})
"""No instance passes them: `tests/toys/test_toy_schedules.py` kills workers there."""


def worker_points() -> list[str]:
    """Every crash point of a worker, as `QUARTERDECK_CRASH_AT` names it. Other tests of the session declare points of their own."""
    holders = {name for holder in CALLED_BY for name in vars(holder)}
    activities = (PASSED_DURING.keys() | holders) - PASSED_ELSEWHERE
    return [point for point in crash.every_crash_point() if point.partition(":")[0] in activities]


PASSES_PER_INSTANCE: Final[dict[tuple[str, Work], int]] = {
    ("project_instance", Work.PROVISION): 6,
    ("project_instance", Work.REINSTALL): 4,
    ("project_instance", Work.TERMINATE): 3,
}
"""At least so many passes of a point for each instance under way, where that is more than one."""


def cases() -> list[tuple[str, Work]]:
    """Every point with every kind of work that passes it. The kinds take turns, so that instances are made before they end."""
    turns: dict[Work, list[str]] = {work: [] for work in Work}
    for point in worker_points():
        for work in PASSED_DURING[point.partition(":")[0]]:
            turns[work].append(point)
    ordered: list[tuple[str, Work]] = []
    while any(turns.values()):
        ordered += [(waiting.pop(0), work) for work, waiting in turns.items() if waiting]
    return ordered
