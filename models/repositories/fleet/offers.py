"""What an order names, and the offers that it can be given: a type in a zone that can be ordered now."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, Uuid, bindparam, func, literal, or_, true
from sqlalchemy import select as select_columns
from sqlalchemy.orm import Mapped, aliased
from sqlalchemy.types import TypeEngine
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.domain.fleet.placement.decision import Market, NamedModel, NamedProvider, Wish
from models.domain.fleet.placement.offers import ModelNeed, Offer
from models.domain.fleet.provider_kinds import PROVIDER_KINDS
from models.tables.fleet.catalog import InstanceType, InstanceTypeZone, LlmModel, Provider, Region, Zone


def _is_wished(column: Mapped[Any], name: str, kind: type[TypeEngine[Any]]) -> ColumnElement[bool]:
    """The column has the wished value, or none is wished."""
    wished = bindparam(name, type_=kind)
    return or_(wished.is_(None), column == wished)


_IS_PROVIDER = _is_wished(col(Provider.id), "provider_id", Uuid) & _is_wished(col(Provider.code), "provider_code", Text)

_ZONES = (
    select_columns(col(Zone.id))
    .join(Region, col(Region.id) == Zone.region_id)
    .join(Provider, col(Provider.id) == Zone.provider_id)
    .where(_IS_PROVIDER, col(Zone.is_active), col(Region.is_active), _is_wished(col(Zone.code), "zone_code", Text))
)

_OFFERS = (
    select_columns(
        col(Provider.id).label("provider_id"),
        col(Provider.code).label("provider_code"),
        col(Zone.id).label("zone_id"),
        col(Zone.code).label("zone_code"),
        col(Zone.region_id).label("region_id"),
        col(InstanceType.id).label("instance_type_id"),
        col(InstanceType.code).label("instance_type_code"),
        col(InstanceType.gpu_count),
        col(InstanceType.vram_per_gpu_gb),
        col(InstanceType.ram_gb),
        func.coalesce(InstanceTypeZone.price_eur_per_hour, InstanceType.price_eur_per_hour).label("price_eur_per_hour"),
        col(InstanceType.billing_increment_s),
        col(InstanceType.billing_minimum_s),
    )
    .join(Zone, col(Zone.provider_id) == Provider.id)
    .join(InstanceTypeZone, col(InstanceTypeZone.zone_id) == Zone.id)
    .join(InstanceType, col(InstanceType.id) == InstanceTypeZone.instance_type_id)
    .where(col(Zone.id).in_(_ZONES), col(Provider.is_active), col(Provider.has_adapter))
    .where(col(InstanceType.is_active), col(InstanceTypeZone.is_available))
    .where(_is_wished(col(InstanceType.code), "instance_type_code", Text))
    .subquery()
)

_NAMED_PROVIDER = aliased(
    Provider,
    select(Provider)
    .where(or_(col(Provider.id) == bindparam("provider_id"), col(Provider.code) == bindparam("provider_code")))
    .subquery(),
)
_NAMED_MODEL = aliased(
    LlmModel,
    select(LlmModel)
    .where(
        or_(
            col(LlmModel.id) == bindparam("model_id"),
            col(LlmModel.code) == bindparam("model_name"),
            col(LlmModel.model_id) == bindparam("model_name"),
        )
    )
    .limit(1)
    .subquery(),
)

_MARKET: Select[*tuple[Any, ...]] = (
    select_columns(_NAMED_PROVIDER, _NAMED_MODEL, _ZONES.exists().label("has_zone"), *_OFFERS.c)
    .select_from(select_columns(literal(1)).subquery("market"))
    .outerjoin(_NAMED_PROVIDER, true())
    .outerjoin(_NAMED_MODEL, true())
    .outerjoin(_OFFERS, true())
)
"""One row per offer, or one without. Composed once: that costs more than running it."""


async def look_up(session: AsyncSession, wish: Wish) -> Market:
    values = {**vars(wish), "model_id": _uuid(wish.model_name)}
    if wish.provider_id is not None:
        values["provider_code"] = None
    rows = (await session.execute(_MARKET, values)).all()
    provider, model, has_zone, *_ = rows[0]
    names = [column.name for column in _OFFERS.c]
    offers = [dict(zip(names, columns, strict=True)) for _, _, _, *columns in rows]
    return Market(
        None if provider is None else _named(provider),
        None if model is None else NamedModel(model.id, need_of(model), model.is_active),
        has_zone,
        [_offer(offer) for offer in offers if offer["provider_id"] is not None],
    )


def _named(provider: Provider) -> NamedProvider:
    return NamedProvider(provider.id, provider.code, is_orderable=provider.is_active and provider.has_adapter)


def _offer(columns: Mapping[str, Any]) -> Offer:
    values = dict(columns)
    return Offer(provider=PROVIDER_KINDS.of(values.pop("provider_code")), **values)


async def default_provider(session: AsyncSession) -> NamedProvider:
    """The provider under which an order that names none is filed when it cannot be placed."""
    here = [kind.code for kind in PROVIDER_KINDS.on_this_machine()]
    statement = select(Provider).order_by(col(Provider.code).in_(here).desc(), col(Provider.code)).limit(1)
    return _named((await session.exec(statement)).one())


def need_of(model: LlmModel) -> ModelNeed:
    return ModelNeed(
        model.model_id,
        model.required_vram_gb,
        has_local_file=model.model_file is not None,
        only_with=PROVIDER_KINDS.only_with(model.model_id),
    )


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
