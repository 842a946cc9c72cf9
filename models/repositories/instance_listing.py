"""Instances as people and programs read them: one query for a row, a page, or a search (contract/fleet.md 2.11)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import NotFound

_COST = """(
    SELECT coalesce(sum(segment_cost_eur(
        b.opened_at, coalesce(b.closed_at, now()), b.price_eur_per_hour, b.billing_increment_s, b.billing_minimum_s)), 0)
    FROM billing_segments b WHERE b.instance_id = i.id
)"""

_COLUMNS = f"""
    i.id, i.organization_id, i.provider_id, i.zone_id, i.instance_type_id, i.model_id, i.provider_instance_id,
    m.name AS model_name, m.model_id AS model_code,
    i.visible_status AS status, i.desired_status, i.endpoint_host AS ip_address, i.is_archived, i.deleted_by_provider,
    i.deletion_reason, i.error_code, i.error_message, i.heal_attempts AS health_check_failures, i.completed_steps,
    i.generation, i.version, i.waiting_on, i.waiting_since, i.waiting_until, i.on_unavailable,
    l.worker_status, l.phase AS worker_phase, l.last_heartbeat_at AS worker_last_heartbeat, l.worker_model_id, l.queue_depth AS worker_queue_depth,
    l.gpu_utilization AS worker_gpu_utilization, NULL::int AS worker_health_port, i.endpoint_port AS worker_vllm_port,
    l.report AS worker_metadata, l.slots_busy AS worker_slots_busy, l.slots_total AS worker_slots_total,
    i.created_at, i.boot_started_at, i.ready_at, i.failed_at, i.terminated_at, i.last_health_check, i.last_reconciliation,
    (SELECT count(*) FROM instance_volumes v WHERE v.instance_id = i.id AND v.deleted_at IS NULL) AS storage_count,
    ARRAY(SELECT v.size_gb FROM instance_volumes v WHERE v.instance_id = i.id AND v.deleted_at IS NULL
          ORDER BY v.size_gb) AS storage_sizes_gb,
    p.name AS provider_name, p.code AS provider_code, coalesce(r.name, 'Unknown Region') AS region,
    coalesce(z.name, 'Unknown Zone') AS zone, coalesce(t.name, 'Unknown Type') AS instance_type,
    t.cpu_count, t.ram_gb, t.vram_per_gpu_gb AS gpu_vram, t.gpu_count,
    i.price_eur_per_hour AS cost_per_hour, {_COST} AS total_cost
"""

_FROM = """
    FROM instances i
    JOIN providers p ON p.id = i.provider_id
    LEFT JOIN zones z ON z.id = i.zone_id
    LEFT JOIN regions r ON r.id = z.region_id
    LEFT JOIN instance_types t ON t.id = i.instance_type_id
    LEFT JOIN models m ON m.id = i.model_id
    LEFT JOIN instance_liveness l ON l.instance_id = i.id
"""

SORTS: Mapping[str, str] = {
    "created_at": "i.created_at",
    "status": "i.visible_status",
    "provider": "p.name",
    "region": "r.name",
    "zone": "z.name",
    "type": "t.name",
    "cost_per_hour": "i.price_eur_per_hour",
    "total_cost": "total_cost",
}
"""Sort key of the API -> SQL; any other key sorts by `created_at` (contract decision 20)."""

_VOLUMES = text("""
    SELECT id, provider_volume_id, name, volume_type, size_gb, is_boot, status, delete_on_terminate, created_at,
        attached_at, deleted_at, reconciled_at, last_reconciliation, error_message
    FROM instance_volumes WHERE instance_id = :id
    ORDER BY deleted_at IS NOT NULL, created_at, id
""")

Row = dict[str, Any]


@dataclass(frozen=True)
class InstanceSearch:
    """`ids` narrows to these; `status` to one visible status; None means all."""

    archived: bool = False
    status: str | None = None
    offset: int = 0
    limit: int = 200
    sort_by: str = "created_at"
    descending: bool = True


@dataclass(frozen=True)
class InstancePage:
    rows: list[Row]
    total_count: int
    filtered_count: int


async def get(session: AsyncSession, instance_id: UUID) -> Row:
    """One instance with its volumes under `storages`. Raises NotFound, also for another organization's."""
    found = (await session.execute(text(f"SELECT {_COLUMNS} {_FROM} WHERE i.id = :id"), {"id": instance_id})).mappings()
    row = found.one_or_none()
    if row is None:
        raise NotFound("this instance does not exist", code="INSTANCE_NOT_FOUND")
    volumes = (await session.execute(_VOLUMES, {"id": instance_id})).mappings()
    return {**row, "storages": [dict(volume) for volume in volumes]}


async def listing(session: AsyncSession, *, archived: bool) -> list[Row]:
    """All instances of the organization, newest first."""
    statement = text(f"SELECT {_COLUMNS} {_FROM} WHERE i.is_archived = :archived ORDER BY i.created_at DESC, i.id DESC")
    return [dict(row) for row in (await session.execute(statement, {"archived": archived})).mappings()]


async def search(session: AsyncSession, wanted: InstanceSearch) -> InstancePage:
    """One page, and how many rows there are before and after the filter."""
    where = "i.is_archived = :archived" + (" AND i.visible_status = :status" if wanted.status else "")
    direction = "DESC" if wanted.descending else "ASC"
    order = f"{SORTS.get(wanted.sort_by, SORTS['created_at'])} {direction} NULLS LAST, i.id {direction}"
    values = {"archived": wanted.archived, "status": wanted.status}
    page = await session.execute(
        text(f"SELECT {_COLUMNS} {_FROM} WHERE {where} ORDER BY {order} LIMIT :limit OFFSET :offset"),
        {**values, "limit": wanted.limit, "offset": wanted.offset},
    )
    counts = await session.execute(
        text(f"SELECT count(*) AS total, count(*) FILTER (WHERE {where}) AS filtered FROM instances i"), values
    )
    total, filtered = counts.one()
    return InstancePage([dict(row) for row in page.mappings()], total, filtered)
