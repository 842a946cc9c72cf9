"""The instance's row, for its owner: reading it, freezing what is created, projecting what became of it."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING

from temporalio import activity

from activities.runtime.crash import crash_point, crash_points
from activities.runtime.heartbeat import Heartbeat
from models.contracts.fleet.instances import Applied, AwaitDrained, Frozen, InstanceKey, InstanceSnapshot, Projection

if TYPE_CHECKING:
    from models.repositories.fleet.instances.rows import InstanceRows

DRAIN_CHECK_INTERVAL_S = 0.5
SILENT_S, HEARTBEATS_MISSED = 20.0, 5
"""After so long without a heartbeat, and so many that did not come, a draining agent is taken for dead: the stale time that a
serving one is given would be billed in full."""
ROUTING_STOPS_S = 1.0
"""Within this time every gateway knows that the instance is draining (contract decision 6)."""


class InstanceActivities:
    """Short transactions, called as local activities; `await_drained` is the one that takes time."""

    def __init__(self, rows: InstanceRows) -> None:
        self._rows = rows

    @activity.defn
    async def load_instance(self, key: InstanceKey) -> InstanceSnapshot:
        """The instance as it stands. Raises NotFound."""
        return await self._rows.load(key)

    @activity.defn
    @crash_points()
    async def freeze_machine_spec(self, key: InstanceKey) -> Frozen:
        """Fix what will be created, before the first try (DESIGN rule 5). Not applied: the instance was terminated first."""
        crash_point("freeze_machine_spec", "before_call")
        frozen = await self._rows.freeze_spec(key)
        crash_point("freeze_machine_spec", "after_call")
        return frozen

    @activity.defn
    @crash_points()
    async def project_instance(self, change: Projection) -> Applied:
        """Write a change of the row, once, and return the instance as it stands after it."""
        crash_point("project_instance", "before_call")
        applied = await self._rows.apply(change)
        crash_point("project_instance", "after_call")
        return applied

    @activity.defn
    @crash_points("before_call")
    async def await_drained(self, request: AwaitDrained) -> bool:
        """True once the agent reports no request in flight, in a heartbeat sent after routing had stopped; False when the
        time is over.

        An agent that has gone silent has nothing in flight that could still be saved: False as soon as that shows. Only the
        order of heartbeats counts, never a comparison of two machines' clocks.
        """
        began = heard = time.monotonic()
        last_beat: datetime | None = None
        routed_beat: datetime | None = None
        async with Heartbeat():
            crash_point("await_drained", "before_call")
            while True:
                row = await self._rows.load(request.key)
                agent = row.liveness
                if agent is None or agent.is_stale or agent.last_heartbeat_at is None:
                    return True
                now = time.monotonic()
                elapsed_s = now - began
                if agent.last_heartbeat_at != last_beat:
                    last_beat, heard = agent.last_heartbeat_at, now
                if routed_beat is None or elapsed_s < ROUTING_STOPS_S:
                    routed_beat = agent.last_heartbeat_at
                elif agent.last_heartbeat_at > routed_beat and agent.slots_busy == 0 and agent.queue_depth == 0:
                    return True
                interval_s = row.machine_spec.heartbeat_interval_s if row.machine_spec else 0.0
                is_silent = now - heard >= max(SILENT_S, HEARTBEATS_MISSED * interval_s)
                if is_silent or elapsed_s >= request.timeout_s:
                    return False
                await asyncio.sleep(DRAIN_CHECK_INTERVAL_S)
