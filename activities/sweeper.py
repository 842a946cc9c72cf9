"""One sweep: silence becomes an edge, a missing owner comes back, what is old goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity

from activities.runtime.heartbeat import Heartbeat
from models.contracts.sweeper import SweepInput, SweepResult
from models.contracts.workflow_ids import parse_instance_workflow_id

if TYPE_CHECKING:
    from uuid import UUID

    from temporalio.client import Client

    from activities.runtime.delivery import OutboxDelivery
    from models.repositories.sweeper_rows import SweeperRows

SETTLED_AFTER_S = 10.0
"""A row younger than this may still have its start in the outbox."""

RUNNING_OWNERS = "WorkflowType = 'Instance' AND ExecutionStatus = 'Running'"


class SweeperActivities:
    def __init__(self, rows: SweeperRows, client: Client, delivery: OutboxDelivery) -> None:
        self._rows, self._client, self._delivery = rows, client, delivery

    @activity.defn
    async def sweep(self, request: SweepInput) -> SweepResult:
        """Safe to repeat and to run twice at once. Raises ServiceUnavailable while the database or Temporal is away."""
        async with Heartbeat():
            stale = await self._rows.mark_stale()
            restarted = await self._restart_missing_owners()
            purged = await self._rows.purge()
        return SweepResult(stale=stale, owners_restarted=restarted, purged=purged)

    async def _restart_missing_owners(self) -> int:
        """Visibility lags, so its list only says who is worth a try; whether an owner is missing the start itself decides."""
        unfinished = await self._rows.unfinished(older_than_s=SETTLED_AFTER_S)
        if not unfinished:
            return 0
        running = await self._running_owners()
        restarted = 0
        for one in unfinished:
            if one.instance_id in running:
                continue
            restarted += await self._delivery.restart_owner(
                one.instance_id, one.organization_id, provider_code=one.provider_code
            )
        return restarted

    async def _running_owners(self) -> set[UUID]:
        found = set()
        async for execution in self._client.list_workflows(RUNNING_OWNERS):
            instance_id = parse_instance_workflow_id(execution.id)
            if instance_id is not None:
                found.add(instance_id)
        return found
