"""Every schedule, as data. A worker brings the server to this list when it starts; no request ever makes one."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from temporalio.client import ScheduleOverlapPolicy

from models.contracts.samples import UpkeepInput
from models.contracts.sweeper import SweepInput
from workflows import options


@dataclass(frozen=True)
class ScheduleSpecification:
    id: str
    workflow: str
    argument: SweepInput | UpkeepInput
    every: timedelta
    overlap: ScheduleOverlapPolicy = ScheduleOverlapPolicy.SKIP


SCHEDULES: Final = (
    ScheduleSpecification("sweeper", "Sweeper", SweepInput(), options.SWEEP_EVERY),
    ScheduleSpecification("samples", "Samples", UpkeepInput(), options.UPKEEP_EVERY),
)
