"""Reading the catalogue: lists, searches, and what is offered where."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy
from sqlalchemy import ColumnElement, FromClause, Select, SQLColumnExpression, and_, func, or_, true
from sqlalchemy.orm import class_mapper
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import MalformedRequest, NotFound
from models.domain.fleet.placement.offers import MachineType, misfit
from models.domain.fleet.provider_kinds import PROVIDER_KINDS
from models.repositories.fleet.offers import need_of
from models.tables.fleet.catalog import InstanceType, InstanceTypeZone, LlmModel, Provider, Region, Zone

Row = dict[str, Any]
Column = SQLColumnExpression[Any]


@dataclass(frozen=True)
class Resource:
    """One searchable part of the catalogue. `sorts` has the keys of the API; the first one is the default."""

    table: type[Provider | Region | Zone | InstanceType]
    source: FromClause
    columns: Sequence[Column]
    sorts: Mapping[str, Column]
    searched: Sequence[Column]
    """Columns in which `q` is looked for."""

    @property
    def by_name(self) -> tuple[Column, Column]:
        return col(self.table.name), col(self.table.id)


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


def _table(table: type[SQLModel]) -> FromClause:
    return class_mapper(table).local_table


def _columns(table: type[SQLModel], names: str) -> list[Column]:
    return [col(getattr(table, name)) for name in names.split()]


def _sorts(table: type[SQLModel], names: str) -> dict[str, Column]:
    return dict(zip(names.split(), _columns(table, names), strict=True))


_PROVIDER = {"provider_name": col(Provider.name), "provider_code": col(Provider.code)}
_REGION = {"region_name": col(Region.name), "region_code": col(Region.code)}


def _named(columns: Mapping[str, Column]) -> list[Column]:
    return [column.label(name) for name, column in columns.items()]


PROVIDERS = Resource(
    table=Provider,
    source=_table(Provider),
    columns=_columns(Provider, "id name code description is_active has_adapter created_at"),
    sorts=_sorts(Provider, "name code is_active"),
    searched=(*_columns(Provider, "name code"), func.coalesce(col(Provider.description), "")),
)
REGIONS = Resource(
    table=Region,
    source=_table(Region).join(_table(Provider), col(Provider.id) == Region.provider_id),
    columns=[*_columns(Region, "id provider_id name code is_active"), *_named(_PROVIDER)],
    sorts={**_sorts(Region, "name code is_active"), **_PROVIDER},
    searched=_columns(Region, "name code"),
)
ZONES = Resource(
    table=Zone,
    source=_table(Zone)
    .join(_table(Region), col(Region.id) == Zone.region_id)
    .join(_table(Provider), col(Provider.id) == Zone.provider_id),
    columns=[
        *_columns(Zone, "id region_id provider_id name code is_active"),
        *_named(_REGION),
        *_named(_PROVIDER),
    ],
    sorts={**_sorts(Zone, "name code is_active"), **_REGION, **_PROVIDER},
    searched=_columns(Zone, "name code"),
)
_TYPES = _table(InstanceType).join(_table(Provider), col(Provider.id) == InstanceType.provider_id)
_TYPE_COLUMNS = [
    *_columns(
        InstanceType,
        "id provider_id name code gpu_count vram_per_gpu_gb cpu_count ram_gb bandwidth_bps is_active billing_increment_s"
        " billing_minimum_s",
    ),
    *_named(_PROVIDER),
]
INSTANCE_TYPES = Resource(
    table=InstanceType,
    source=_TYPES,
    columns=[*_TYPE_COLUMNS, col(InstanceType.price_eur_per_hour)],
    sorts={
        **_sorts(InstanceType, "name code is_active gpu_count vram_per_gpu_gb"),
        "cost_per_hour": col(InstanceType.price_eur_per_hour),
        "provider_name": col(Provider.name),
    },
    searched=_columns(InstanceType, "name code"),
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

_PRICE_IN_ZONE = func.coalesce(col(InstanceTypeZone.price_eur_per_hour), col(InstanceType.price_eur_per_hour)).label(
    "price_eur_per_hour"
)


async def listing(session: AsyncSession, resource: Resource) -> list[Row]:
    """Everything, by name."""
    statement = sqlalchemy.select(*resource.columns).select_from(resource.source).order_by(*resource.by_name)
    return await _rows(session, statement)


async def search(session: AsyncSession, resource: Resource, wanted: CatalogSearch) -> Found:
    """One page; an unknown sort key sorts by name. `q` is a part of a name or code, in any case."""
    is_found = and_(true(), *_conditions(resource, wanted))
    keys = resource.sorts.get(wanted.order_by, resource.sorts["name"]), col(resource.table.id)
    sorted_by, then_by = (key.desc() if wanted.descending else key.asc() for key in keys)
    page = (
        sqlalchemy.select(*resource.columns)
        .select_from(resource.source)
        .where(is_found)
        .order_by(sorted_by.nulls_last(), then_by)
        .limit(wanted.limit)
        .offset(wanted.offset)
    )
    counts = sqlalchemy.select(func.count(), func.count().filter(is_found)).select_from(resource.source)
    rows = await _rows(session, page)
    total, filtered = (await session.execute(counts)).one()
    return Found(rows, total, filtered)


def _conditions(resource: Resource, wanted: CatalogSearch) -> Iterator[ColumnElement[bool]]:
    if wanted.q:
        yield or_(*(func.strpos(func.lower(column), func.lower(wanted.q)) > 0 for column in resource.searched))
    for name in ("is_active", "provider_id", "region_id"):
        value = getattr(wanted, name)
        if value is not None:
            yield col(getattr(resource.table, name)) == value


async def _rows(session: AsyncSession, statement: Select[Any]) -> list[Row]:
    return [dict(row) for row in (await session.execute(statement)).mappings()]


async def zones_of_type(session: AsyncSession, instance_type_id: UUID) -> list[Row]:
    """Where the type is offered, available or not. Raises NotFound."""
    await _type(session, instance_type_id)
    statement = (
        sqlalchemy.select(
            *_columns(InstanceTypeZone, "instance_type_id zone_id is_available"),
            *_named({"zone_name": col(Zone.name), "zone_code": col(Zone.code)}),
            _PRICE_IN_ZONE,
        )
        .select_from(_table(InstanceTypeZone))
        .join(_table(Zone), col(Zone.id) == InstanceTypeZone.zone_id)
        .join(_table(InstanceType), col(InstanceType.id) == InstanceTypeZone.instance_type_id)
        .where(col(InstanceTypeZone.instance_type_id) == instance_type_id)
        .order_by(col(Zone.name), col(Zone.id))
    )
    return await _rows(session, statement)


async def types_in_zone(
    session: AsyncSession, zone_id: UUID, *, provider_id: UUID | None, provider_code: str | None
) -> list[Row]:
    """Active types available in the zone, at the zone's prices. Raises NotFound."""
    if await session.get(Zone, zone_id) is None:
        raise NotFound("there is no such zone; GET /zones lists them", code="ZONE_NOT_FOUND")
    offered = _TYPES.join(_table(InstanceTypeZone), col(InstanceTypeZone.instance_type_id) == InstanceType.id)
    statement = (
        sqlalchemy.select(*_TYPE_COLUMNS, _PRICE_IN_ZONE)
        .select_from(offered)
        .where(
            col(InstanceTypeZone.zone_id) == zone_id, col(InstanceTypeZone.is_available), col(InstanceType.is_active)
        )
        .order_by(*INSTANCE_TYPES.by_name)
    )
    if provider_id is not None:
        statement = statement.where(col(Provider.id) == provider_id)
    if provider_code is not None:
        statement = statement.where(col(Provider.code) == provider_code)
    return await _rows(session, statement)


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
