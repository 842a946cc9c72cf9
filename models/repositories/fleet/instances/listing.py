"""Instances as people and programs read them: one round trip for a row, a page, or a search (contract/fleet.md 2.11)."""

from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple
from uuid import UUID

from models.base.json_types import Eur, Moment
from models.domain.fleet.instances.refusals import instance_not_found
from models.domain.fleet.instances.state import AgentPhase, AgentStatus, DesiredStatus, InstanceStatus, OnUnavailable
from models.domain.identity.principal import Principal
from models.repositories.database import Database, Query
from models.repositories.fleet.billing import COST_OF_SEGMENTS
from models.repositories.listing import Join, Listed, Listing, Page, ShownRow, Sort, Sql, Wanted, columns, values


class InstanceRow(ShownRow):
    """`cost_per_hour` is the price frozen with the order; `total_cost` follows from the billing segments."""

    id: Annotated[UUID, Sql("i.id")]
    organization_id: Annotated[UUID, Sql("i.organization_id")]
    provider_id: Annotated[UUID, Sql("i.provider_id")]
    zone_id: Annotated[UUID | None, Sql("i.zone_id")]
    instance_type_id: Annotated[UUID | None, Sql("i.instance_type_id")]
    model_id: Annotated[UUID | None, Sql("i.model_id")]
    provider_instance_id: Annotated[str | None, Sql("i.provider_instance_id")]
    model_name: Annotated[str | None, Sql("m.name")]
    model_code: Annotated[str | None, Sql("m.model_id")]
    status: Annotated[InstanceStatus, Sql("i.visible_status")]
    desired_status: Annotated[DesiredStatus, Sql("i.desired_status")]
    ip_address: Annotated[str | None, Sql("i.endpoint_host")]
    is_archived: Annotated[bool, Sql("i.is_archived")]
    deleted_by_provider: Annotated[bool, Sql("i.deleted_by_provider")]
    deletion_reason: Annotated[str | None, Sql("i.deletion_reason")]
    error_code: Annotated[str | None, Sql("i.error_code")]
    error_message: Annotated[str | None, Sql("i.error_message")]
    health_check_failures: Annotated[int, Sql("i.heal_attempts")]
    generation: Annotated[int, Sql("i.generation")]
    on_unavailable: Annotated[OnUnavailable, Sql("i.on_unavailable")]
    worker_status: Annotated[AgentStatus | None, Sql("l.worker_status")]
    worker_phase: Annotated[AgentPhase | None, Sql("l.phase")]
    worker_last_heartbeat: Annotated[Moment | None, Sql("l.last_heartbeat_at")]
    worker_model_id: Annotated[str | None, Sql("l.worker_model_id")]
    worker_queue_depth: Annotated[int | None, Sql("l.queue_depth")]
    worker_slots_busy: Annotated[int | None, Sql("l.slots_busy")]
    worker_slots_total: Annotated[int | None, Sql("l.slots_total")]
    worker_gpu_utilization: Annotated[float | None, Sql("l.gpu_utilization")]
    worker_health_port: Annotated[int | None, Sql("NULL::int")]
    worker_vllm_port: Annotated[int | None, Sql("i.endpoint_port")]
    created_at: Annotated[Moment, Sql("i.created_at")]
    boot_started_at: Annotated[Moment | None, Sql("i.boot_started_at")]
    ready_at: Annotated[Moment | None, Sql("i.ready_at")]
    failed_at: Annotated[Moment | None, Sql("i.failed_at")]
    terminated_at: Annotated[Moment | None, Sql("i.terminated_at")]
    last_health_check: Annotated[Moment | None, Sql("i.last_health_check")]
    last_reconciliation: Annotated[Moment | None, Sql("i.last_reconciliation")]
    storage_sizes_gb: Annotated[list[int], Sql("disks.sizes_gb")]
    provider_name: Annotated[str, Sql("p.name")]
    provider_code: Annotated[str, Sql("p.code")]
    region: Annotated[str, Sql("coalesce(r.name, 'Unknown Region')")]
    zone: Annotated[str, Sql("coalesce(z.name, 'Unknown Zone')")]
    instance_type: Annotated[str, Sql("coalesce(t.name, 'Unknown Type')")]
    cpu_count: Annotated[int | None, Sql("t.cpu_count")]
    ram_gb: Annotated[int | None, Sql("t.ram_gb")]
    gpu_vram: Annotated[int | None, Sql("t.vram_per_gpu_gb")]
    gpu_count: Annotated[int | None, Sql("t.gpu_count")]
    cost_per_hour: Annotated[Eur | None, Sql("i.price_eur_per_hour")]
    total_cost: Annotated[Eur, Sql("costs.total")]


class InstanceSources(NamedTuple):
    """JSON as the database keeps it, and moments that are shown within something else."""

    completed_steps: Annotated[str, Sql("i.completed_steps::text")]
    report: Annotated[str | None, Sql("l.report::text")]
    waiting_on: Annotated[str | None, Sql("i.waiting_on")]
    waiting_params: Annotated[str | None, Sql("i.waiting_params::text")]
    waiting_since: Annotated[datetime | None, Sql("i.waiting_since")]
    waiting_until: Annotated[datetime | None, Sql("i.waiting_until")]
    held_code: Annotated[str | None, Sql("i.held_code")]
    held_since: Annotated[datetime | None, Sql("i.held_since")]


class StorageRow(ShownRow):
    id: Annotated[UUID, Sql("v.id")]
    provider_volume_id: Annotated[str, Sql("v.provider_volume_id")]
    name: Annotated[str, Sql("v.name")]
    volume_type: Annotated[str, Sql("v.volume_type")]
    size_gb: Annotated[int, Sql("v.size_gb")]
    is_boot: Annotated[bool, Sql("v.is_boot")]
    status: Annotated[str, Sql("v.status")]
    delete_on_terminate: Annotated[bool, Sql("v.delete_on_terminate")]
    created_at: Annotated[Moment, Sql("v.created_at")]
    attached_at: Annotated[Moment | None, Sql("v.attached_at")]
    deleted_at: Annotated[Moment | None, Sql("v.deleted_at")]
    reconciled_at: Annotated[Moment | None, Sql("v.reconciled_at")]
    last_reconciliation: Annotated[Moment | None, Sql("v.last_reconciliation")]
    error_message: Annotated[str | None, Sql("v.error_message")]


INSTANCES: Final = Listing(
    table="instances i",
    shown=InstanceRow,
    sources=InstanceSources,
    joins={
        "p": Join("JOIN providers p ON p.id = i.provider_id"),
        "z": Join("LEFT JOIN zones z ON z.id = i.zone_id"),
        "r": Join("LEFT JOIN regions r ON r.id = z.region_id", after="z"),
        "t": Join("LEFT JOIN instance_types t ON t.id = i.instance_type_id"),
        "m": Join("LEFT JOIN models m ON m.id = i.model_id"),
        "l": Join("LEFT JOIN instance_liveness l ON l.instance_id = i.id"),
        "disks": Join(
            "CROSS JOIN LATERAL (SELECT ARRAY(SELECT v.size_gb FROM instance_volumes v"
            " WHERE v.instance_id = i.id AND v.deleted_at IS NULL ORDER BY v.size_gb) AS sizes_gb) disks"
        ),
        "costs": Join(
            f"CROSS JOIN LATERAL (SELECT {COST_OF_SEGMENTS} AS total"  # noqa: S608 (constants)
            " FROM billing_segments b WHERE b.instance_id = i.id) costs",
            to_sort=f"LEFT JOIN (SELECT b.instance_id, {COST_OF_SEGMENTS} AS total FROM billing_segments b GROUP BY 1) costs"  # noqa: S608
            " ON costs.instance_id = i.id",
        ),
    },
    filters={"archived": "i.is_archived = %(archived)s", "status": "i.visible_status = %(status)s"},
    sorts={
        "created_at": Sort("i.created_at"),
        "status": Sort("i.visible_status"),
        "provider": Sort("p.name"),
        "region": Sort("r.name", is_nullable=True),
        "zone": Sort("z.name", is_nullable=True),
        "type": Sort("t.name", is_nullable=True),
        "cost_per_hour": Sort("i.price_eur_per_hour", is_nullable=True),
        "total_cost": Sort("coalesce(costs.total, 0)"),
    },
)

_VOLUMES = f"""
    SELECT {", ".join(columns(StorageRow))} FROM instance_volumes v WHERE v.instance_id = %(id)s
    ORDER BY v.deleted_at IS NOT NULL, v.created_at, v.id
"""  # noqa: S608 (constants)

ListedInstance = Listed[InstanceSources]


async def get(database: Database, reader: Principal, instance_id: UUID) -> tuple[ListedInstance, list[dict[str, Any]]]:
    """One instance, and its volumes as `StorageRow` has them. Raises NotFound, also for another organization's."""
    found = await INSTANCES.one(database, reader, instance_id, Query(_VOLUMES, {"id": instance_id}))
    if found.row is None:
        raise instance_not_found()
    return found.row, values(StorageRow, found.others[0])


async def listing(database: Database, reader: Principal, *, archived: bool) -> list[ListedInstance]:
    """All instances of the organization, newest first."""
    return (await search(database, reader, Wanted({"archived": archived}, limit=None))).rows


async def search(database: Database, reader: Principal, wanted: Wanted) -> Page[InstanceSources]:
    """One page, and how many rows there are before and after the filters."""
    return await INSTANCES.page(database, reader, wanted)
