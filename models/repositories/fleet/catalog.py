"""Reading the catalogue: lists, searches, and what is offered where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import MalformedRequest, NotFound
from models.domain.fleet.placement.offers import MachineType, misfit
from models.domain.fleet.provider_kinds import PROVIDER_KINDS
from models.repositories.fleet.offers import need_of
from models.tables.fleet.catalog import InstanceType, LlmModel, Provider, Zone

Row = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """One searchable part of the catalogue. `sorts` maps keys of the API to SQL; the first one is the default."""

    table: str
    columns: str
    source: str
    sorts: Mapping[str, str]
    searched: Sequence[str]
    """Columns in which `q` is looked for."""


@dataclass(frozen=True)
class CatalogSearch:
    """None leaves a filter out. A filter that the resource does not have must be None."""

    q: str | None = None
    is_active: bool | None = None
    provider_id: UUID | None = None
    region_id: UUID | None = None
    order_by: str = "name"
    descending: bool = False
    offset: int = 0
    limit: int = 200


@dataclass(frozen=True)
class Found:
    rows: list[Row]
    total_count: int
    filtered_count: int


PROVIDERS = Resource(
    table="providers",
    columns="x.id, x.name, x.code, x.description, x.is_active, x.has_adapter, x.created_at",
    source="providers x",
    sorts={"name": "x.name", "code": "x.code", "is_active": "x.is_active"},
    searched=("x.name", "x.code", "coalesce(x.description, '')"),
)
REGIONS = Resource(
    table="regions",
    columns="x.id, x.provider_id, x.name, x.code, x.is_active, p.name AS provider_name, p.code AS provider_code",
    source="regions x JOIN providers p ON p.id = x.provider_id",
    sorts={
        "name": "x.name",
        "code": "x.code",
        "is_active": "x.is_active",
        "provider_name": "p.name",
        "provider_code": "p.code",
    },
    searched=("x.name", "x.code"),
)
ZONES = Resource(
    table="zones",
    columns="x.id, x.region_id, x.provider_id, x.name, x.code, x.is_active, r.name AS region_name, r.code AS region_code, "
    "p.name AS provider_name, p.code AS provider_code",
    source="zones x JOIN regions r ON r.id = x.region_id JOIN providers p ON p.id = x.provider_id",
    sorts={
        "name": "x.name",
        "code": "x.code",
        "is_active": "x.is_active",
        "region_name": "r.name",
        "region_code": "r.code",
        "provider_name": "p.name",
        "provider_code": "p.code",
    },
    searched=("x.name", "x.code"),
)
_TYPE_COLUMNS = (
    "x.id, x.provider_id, x.name, x.code, x.gpu_count, x.vram_per_gpu_gb, x.cpu_count, x.ram_gb, x.bandwidth_bps, "
    "x.is_active, x.billing_increment_s, x.billing_minimum_s, p.name AS provider_name, p.code AS provider_code, "
)
INSTANCE_TYPES = Resource(
    table="instance_types",
    columns=_TYPE_COLUMNS + "x.price_eur_per_hour",
    source="instance_types x JOIN providers p ON p.id = x.provider_id",
    sorts={
        "name": "x.name",
        "code": "x.code",
        "is_active": "x.is_active",
        "gpu_count": "x.gpu_count",
        "vram_per_gpu_gb": "x.vram_per_gpu_gb",
        "cost_per_hour": "x.price_eur_per_hour",
        "provider_name": "p.name",
        "provider_code": "p.code",
    },
    searched=("x.name", "x.code"),
)

MODEL_SORTS = {
    "name": col(LlmModel.name),
    "model_id": col(LlmModel.model_id),
    "required_vram_gb": col(LlmModel.required_vram_gb),
    "context_length": col(LlmModel.context_length),
    "data_volume_gb": col(LlmModel.data_volume_gb),
    "is_active": col(LlmModel.is_active),
    "created_at": col(LlmModel.created_at),
    "updated_at": col(LlmModel.updated_at),
}

_TYPES_IN_ZONE = text(
    f"SELECT {_TYPE_COLUMNS} coalesce(l.price_eur_per_hour, x.price_eur_per_hour) AS price_eur_per_hour "  # noqa: S608
    "FROM instance_type_zones l JOIN instance_types x ON x.id = l.instance_type_id JOIN providers p ON p.id = x.provider_id "
    "WHERE l.zone_id = :zone_id AND l.is_available AND x.is_active AND (CAST(:provider_id AS uuid) IS NULL "
    "OR p.id = :provider_id) AND (CAST(:provider_code AS text) IS NULL OR p.code = :provider_code) ORDER BY x.name, x.id"
)
_ZONES_OF_TYPE = text(
    "SELECT l.instance_type_id, l.zone_id, l.is_available, z.name AS zone_name, z.code AS zone_code, "
    "coalesce(l.price_eur_per_hour, x.price_eur_per_hour) AS price_eur_per_hour FROM instance_type_zones l "
    "JOIN zones z ON z.id = l.zone_id JOIN instance_types x ON x.id = l.instance_type_id "
    "WHERE l.instance_type_id = :id ORDER BY z.name, z.id"
)


async def listing(session: AsyncSession, resource: Resource) -> list[Row]:
    """Everything, by name."""
    statement = f"SELECT {resource.columns} FROM {resource.source} ORDER BY x.name, x.id"  # noqa: S608 (constants)
    return [dict(row) for row in (await session.execute(text(statement))).mappings()]


async def search(session: AsyncSession, resource: Resource, wanted: CatalogSearch) -> Found:
    """One page; an unknown sort key sorts by name. `q` is a part of a name or code, in any case."""
    where, values = _conditions(resource, wanted)
    direction = "DESC" if wanted.descending else "ASC"
    order = f"{resource.sorts.get(wanted.order_by, resource.sorts['name'])} {direction} NULLS LAST, x.id {direction}"
    page = (
        f"SELECT {resource.columns} FROM {resource.source} WHERE {where} ORDER BY {order} LIMIT :limit OFFSET :offset"  # noqa: S608 (constants)
    )
    counts = f"SELECT count(*), count(*) FILTER (WHERE {where}) FROM {resource.source}"  # noqa: S608 (constants)
    rows = (await session.execute(text(page), values | {"limit": wanted.limit, "offset": wanted.offset})).mappings()
    total, filtered = (await session.execute(text(counts), values)).one()
    return Found([dict(row) for row in rows], total, filtered)


def _conditions(resource: Resource, wanted: CatalogSearch) -> tuple[str, dict[str, object]]:
    conditions, values = ["true"], dict[str, object]()
    if wanted.q:
        matches = (f"position(lower(:q) IN lower({column})) > 0" for column in resource.searched)
        conditions.append(f"({' OR '.join(matches)})")
        values["q"] = wanted.q
    for name in ("is_active", "provider_id", "region_id"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(f"x.{name} = :{name}")
            values[name] = value
    return " AND ".join(conditions), values


async def zones_of_type(session: AsyncSession, instance_type_id: UUID) -> list[Row]:
    """Where the type is offered, available or not. Raises NotFound."""
    await _type(session, instance_type_id)
    return [dict(row) for row in (await session.execute(_ZONES_OF_TYPE, {"id": instance_type_id})).mappings()]


async def types_in_zone(
    session: AsyncSession, zone_id: UUID, *, provider_id: UUID | None, provider_code: str | None
) -> list[Row]:
    """Active types available in the zone, at the zone's prices. Raises NotFound."""
    if await session.get(Zone, zone_id) is None:
        raise NotFound("there is no such zone; GET /zones lists them", code="ZONE_NOT_FOUND")
    values = {"zone_id": zone_id, "provider_id": provider_id, "provider_code": provider_code}
    return [dict(row) for row in (await session.execute(_TYPES_IN_ZONE, values)).mappings()]


async def models(session: AsyncSession, *, only_active: bool, order_by: str, descending: bool) -> Sequence[LlmModel]:
    """All models or the active ones; an unknown sort key sorts by name."""
    keys = [MODEL_SORTS.get(order_by, MODEL_SORTS["name"]), col(LlmModel.id)]
    statement = select(LlmModel).order_by(*[(key.desc() if descending else key.asc()).nulls_last() for key in keys])
    if only_active:
        statement = statement.where(LlmModel.is_active)
    return (await session.exec(statement)).all()


async def model(session: AsyncSession, name: str) -> LlmModel:
    """By id or code. Raises NotFound for an id that nothing has, MalformedRequest for a text that is neither."""
    try:
        model_id = UUID(name)
    except ValueError:
        found = (await session.exec(select(LlmModel).where(LlmModel.code == name))).one_or_none()
        if found is None:
            raise MalformedRequest(
                "this is neither the id nor the code of a model; GET /models lists them", code="INVALID_ID"
            ) from None
        return found
    found = await session.get(LlmModel, model_id)
    if found is None:
        raise NotFound("there is no such model; GET /models lists them", code="MODEL_NOT_FOUND")
    return found


async def models_for_type(session: AsyncSession, instance_type_id: UUID) -> list[LlmModel]:
    """Active models that can run on the type, by name. Raises NotFound."""
    kind = await _type(session, instance_type_id)
    provider = (await session.exec(select(Provider).where(Provider.id == kind.provider_id))).one()
    machine = MachineType(
        PROVIDER_KINDS.of(provider.code), kind.code, kind.gpu_count, kind.vram_per_gpu_gb, kind.ram_gb
    )
    active = await models(session, only_active=True, order_by="name", descending=False)
    return [model for model in active if misfit(need_of(model), machine) is None]


async def _type(session: AsyncSession, instance_type_id: UUID) -> InstanceType:
    kind = await session.get(InstanceType, instance_type_id)
    if kind is None:
        raise NotFound("there is no such instance type; GET /instance_types lists them", code="INSTANCE_TYPE_NOT_FOUND")
    return kind
