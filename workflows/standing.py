"""The workflows that every installation has, one of each, as data. A worker sees to it that they run; no request ever does."""

from dataclasses import dataclass
from typing import Final

from models.contracts.workflow_ids import SAMPLES, SWEEPER


@dataclass(frozen=True)
class StandingWorkflow:
    """`summary` and `details` (Markdown) are what an operator reads in the Temporal UI."""

    id: str
    workflow: str
    summary: str
    details: str


STANDING: Final = (
    StandingWorkflow(
        SWEEPER,
        "Sweeper",
        "silent agents, missing owners, old rows",
        "Every 10 s: tells owners of agents that went silent, starts owners that are missing, removes what is old. "
        "Terminated, it is started again within half a minute by a worker.",
    ),
    StandingWorkflow(
        SAMPLES,
        "Samples",
        "upkeep of heartbeat samples",
        "Every minute: averages the heartbeat samples of the minutes that are over, and drops what is old. "
        "Terminated, it is started again within half a minute by a worker.",
    ),
)
