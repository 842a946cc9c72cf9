"""What an instance has served, from the record of inference requests."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.domain.fleet.instances.refusals import instance_not_found
from models.tables.fleet.instances import Instance

TOTALS = text(
    "SELECT count(*) AS total_requests, "
    "count(*) FILTER (WHERE outcome = 'succeeded') AS successful_requests, "
    "count(*) FILTER (WHERE outcome IN ('failed', 'interrupted')) AS failed_requests, "
    "count(*) FILTER (WHERE outcome = 'cancelled') AS cancelled_requests, "
    "coalesce(sum(input_tokens), 0)::bigint AS total_input_tokens, "
    "coalesce(sum(output_tokens), 0)::bigint AS total_output_tokens, "
    "min(started_at) AS first_request_at, max(started_at) AS last_request_at "
    "FROM inference_requests WHERE instance_id = :instance_id"
)


@dataclass(frozen=True)
class InstanceMetrics:
    """A request that the caller gave up counts as neither success nor failure. Every figure is zero, or null, without any."""

    instance_id: UUID
    total_requests: int
    successful_requests: int
    failed_requests: int
    cancelled_requests: int
    total_input_tokens: int
    total_output_tokens: int
    first_request_at: datetime | None
    last_request_at: datetime | None


async def of_instance(session: AsyncSession, instance_id: UUID) -> InstanceMetrics:
    """Raises NotFound, also for another organization's instance."""
    if (await session.exec(select(Instance.id).where(Instance.id == instance_id))).first() is None:
        raise instance_not_found()
    row = (await session.execute(TOTALS, {"instance_id": instance_id})).mappings().one()
    return InstanceMetrics(instance_id=instance_id, **row)
