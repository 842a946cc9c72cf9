"""Instances as people and programs read them: one round trip for a row, a page, or a search (contract/fleet.md 2.11).

Ids and amounts arrive in the form in which they are shown, and JSON as the database keeps it: to build 200 rows of Python objects
only to write them out again took longer than to find them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from models.domain.identity.principal import Principal
from models.domain.instances.refusals import instance_not_found
from models.repositories.database import Answered, Database, Query

_SEGMENT_COSTS = """coalesce(sum(segment_cost_eur(
    b.opened_at, coalesce(b.closed_at, now()), b.price_eur_per_hour, b.billing_increment_s, b.billing_minimum_s)), 0)
"""

_COLUMNS = f"""
    i.id::text, i.organization_id::text, i.provider_id::text, i.zone_id::text, i.instance_type_id::text, i.model_id::text,
    i.provider_instance_id,
    m.name AS model_name, m.model_id AS model_code,
    i.visible_status AS status, i.desired_status, i.endpoint_host AS ip_address, i.is_archived, i.deleted_by_provider,
    i.deletion_reason, i.error_code, i.error_message, i.heal_attempts AS health_check_failures,
    i.completed_steps::text,
    i.generation, i.waiting_on, i.waiting_since, i.waiting_until, i.held_code, i.held_since, i.on_unavailable,
    l.worker_status, l.phase AS worker_phase, l.last_heartbeat_at AS worker_last_heartbeat, l.worker_model_id,
    l.queue_depth AS worker_queue_depth, l.slots_busy AS worker_slots_busy, l.slots_total AS worker_slots_total,
    l.gpu_utilization AS worker_gpu_utilization, NULL::int AS worker_health_port, i.endpoint_port AS worker_vllm_port,
    l.report::text AS worker_metadata,
    i.created_at, i.boot_started_at, i.ready_at, i.failed_at, i.terminated_at, i.last_health_check, i.last_reconciliation,
    ARRAY(SELECT v.size_gb FROM instance_volumes v WHERE v.instance_id = i.id AND v.deleted_at IS NULL
          ORDER BY v.size_gb) AS storage_sizes_gb,
    p.name AS provider_name, p.code AS provider_code, coalesce(r.name, 'Unknown Region') AS region,
    coalesce(z.name, 'Unknown Zone') AS zone, coalesce(t.name, 'Unknown Type') AS instance_type,
    t.cpu_count, t.ram_gb, t.vram_per_gpu_gb AS gpu_vram, t.gpu_count,
    i.price_eur_per_hour::float8 AS cost_per_hour,
    (SELECT {_SEGMENT_COSTS} FROM billing_segments b WHERE b.instance_id = i.id)::float8 AS total_cost
"""  # noqa: S608 (constants)

_JOINS = """
    JOIN providers p ON p.id = i.provider_id
    LEFT JOIN zones z ON z.id = i.zone_id
    LEFT JOIN regions r ON r.id = z.region_id
    LEFT JOIN instance_types t ON t.id = i.instance_type_id
    LEFT JOIN models m ON m.id = i.model_id
    LEFT JOIN instance_liveness l ON l.instance_id = i.id
"""


@dataclass(frozen=True)
class Sort:
    """What rows are sorted by, and what must be joined for it. Rows that lack a nullable one come last; the others are not
    told so, or an index would not serve them.
    """

    by: str
    joins: str = ""
    is_nullable: bool = False

    def clause(self, direction: str) -> str:
        return f"{self.by} {direction} {'NULLS LAST' if self.is_nullable else ''}, i.id {direction}"


_ZONE = "LEFT JOIN zones z ON z.id = i.zone_id"
NEWEST = Sort("i.created_at")
SORTS: Mapping[str, Sort] = {
    "created_at": NEWEST,
    "status": Sort("i.visible_status"),
    "provider": Sort("p.name", "JOIN providers p ON p.id = i.provider_id"),
    "region": Sort("r.name", f"{_ZONE} LEFT JOIN regions r ON r.id = z.region_id", is_nullable=True),
    "zone": Sort("z.name", _ZONE, is_nullable=True),
    "type": Sort("t.name", "LEFT JOIN instance_types t ON t.id = i.instance_type_id", is_nullable=True),
    "cost_per_hour": Sort("i.price_eur_per_hour", is_nullable=True),
    "total_cost": Sort(
        "coalesce(costs.total, 0)",
        f"LEFT JOIN (SELECT b.instance_id, {_SEGMENT_COSTS} AS total FROM billing_segments b GROUP BY 1) costs"  # noqa: S608
        " ON costs.instance_id = i.id",
    ),
}
"""Sort key of the API -> SQL; any other key sorts by `created_at` (contract decision 20)."""

_VOLUMES = """
    SELECT id::text, provider_volume_id, name, volume_type, size_gb, is_boot, status, delete_on_terminate, created_at,
        attached_at, deleted_at, reconciled_at, last_reconciliation, error_message
    FROM instance_volumes WHERE instance_id = %(id)s
    ORDER BY deleted_at IS NOT NULL, created_at, id
"""
_BY_ID = f"SELECT {_COLUMNS} FROM instances i {_JOINS} WHERE i.id = %(id)s"  # noqa: S608 (constants)

Row = dict[str, Any]


@dataclass(frozen=True)
class InstanceSearch:
    """`status` narrows to one visible status; None means all, also of `limit`."""

    archived: bool = False
    status: str | None = None
    offset: int = 0
    limit: int | None = 200
    sort_by: str = "created_at"
    descending: bool = True


@dataclass(frozen=True)
class InstancePage:
    rows: list[Row]
    total_count: int
    filtered_count: int


async def get(database: Database, reader: Principal, instance_id: UUID) -> Row:
    """One instance with its volumes under `storages`. Raises NotFound, also for another organization's."""
    values = {"id": instance_id}
    found, volumes = await database.read(
        reader.organization_id, reader.user_id, [Query(_BY_ID, values), Query(_VOLUMES, values)]
    )
    if not found.rows:
        raise instance_not_found()
    return {**_rows(found)[0], "storages": _rows(volumes)}


async def listing(database: Database, reader: Principal, *, archived: bool) -> list[Row]:
    """All instances of the organization, newest first."""
    return (await search(database, reader, InstanceSearch(archived, limit=None))).rows


async def search(database: Database, reader: Principal, wanted: InstanceSearch) -> InstancePage:
    """One page, and how many rows there are before and after the filter."""
    values = {"archived": wanted.archived, "status": wanted.status, "limit": wanted.limit, "offset": wanted.offset}
    counts, page = _search(SORTS.get(wanted.sort_by, NEWEST), wanted.descending, wanted.status is not None)
    counted, found = await database.read(
        reader.organization_id, reader.user_id, [Query(counts, values), Query(page, values)]
    )
    total, filtered = counted.rows[0]
    return InstancePage(_rows(found), total, filtered)


@cache
def _search(sort: Sort, is_descending: bool, has_status: bool) -> tuple[str, str]:  # noqa: FBT001 (a cache's key)
    """The statements that count and that fetch: first which rows, then all about those, so that one plan of the many joins fits
    every page.
    """
    where = "i.is_archived = %(archived)s" + (" AND i.visible_status = %(status)s" if has_status else "")
    counts = f"SELECT count(*), count(*) FILTER (WHERE {where}) FROM instances i"  # noqa: S608 (constants)
    page = f"""
        SELECT {_COLUMNS} FROM unnest(ARRAY(
            SELECT i.id FROM instances i {sort.joins} WHERE {where}
            ORDER BY {sort.clause("DESC" if is_descending else "ASC")} LIMIT %(limit)s OFFSET %(offset)s
        )) WITH ORDINALITY AS listed (id, place)
        JOIN instances i ON i.id = listed.id {_JOINS}
        ORDER BY listed.place
    """  # noqa: S608 (constants)
    return counts, page


def _rows(answered: Answered) -> list[Row]:
    return [dict(zip(answered.columns, row, strict=True)) for row in answered.rows]
