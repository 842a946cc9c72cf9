"""The upkeep of heartbeat samples, as one activity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity

from activities.runtime.heartbeat import Heartbeat
from models.contracts.fleet.samples import UpkeepInput, UpkeepResult

if TYPE_CHECKING:
    from models.repositories.fleet.samples import SampleUpkeep


class SampleActivities:
    def __init__(self, upkeep: SampleUpkeep) -> None:
        self._upkeep = upkeep

    @activity.defn
    async def keep_samples(self, request: UpkeepInput) -> UpkeepResult:
        """Average complete minutes, make partitions ahead of time, drop what is old. Safe to repeat."""
        async with Heartbeat():
            averaged, changed = await self._upkeep.keep()
        return UpkeepResult(averaged=averaged, partitions_changed=changed)
