"""Offers: a type in a zone that can be ordered now."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.domain.placement.offers import ModelNeed, Offer
from models.tables.catalog import InstanceType, InstanceTypeZone, LlmModel, Provider, Region, Zone


@dataclass(frozen=True)
class Wish:
    """What an order names; None is left to us."""

    provider_id: UUID | None = None
    zone_code: str | None = None
    instance_type_code: str | None = None


async def find_provider(session: AsyncSession, *, provider_id: UUID | None, code: str | None) -> Provider | None:
    """By id, which wins, or by code."""
    wanted = Provider.id == provider_id if provider_id else Provider.code == code
    return (await session.exec(select(Provider).where(wanted))).one_or_none()


async def default_provider(session: AsyncSession) -> Provider:
    """The provider under which an order that names none is filed when it cannot be placed."""
    statement = select(Provider).order_by((col(Provider.code) == "local").desc(), col(Provider.code)).limit(1)
    return (await session.exec(statement)).one()


async def find_model(session: AsyncSession, name: str) -> LlmModel | None:
    """By row id, catalogue code or Hugging Face id (contract decision 12), active or not."""
    by_name = or_(col(LlmModel.code) == name, col(LlmModel.model_id) == name)
    try:
        wanted = or_(col(LlmModel.id) == UUID(name), by_name)
    except ValueError:
        wanted = by_name
    return (await session.exec(select(LlmModel).where(wanted).limit(1))).one_or_none()


def need_of(model: LlmModel) -> ModelNeed:
    return ModelNeed(model.model_id, model.required_vram_gb, model.model_file is not None)


async def usable(session: AsyncSession, wish: Wish) -> list[Offer]:
    """Offers whose provider, region, zone, type and availability are all active, narrowed to the wish."""
    statement = (
        select(Provider, Zone, InstanceType, InstanceTypeZone)
        .join(Zone, col(Zone.provider_id) == Provider.id)
        .join(Region, col(Region.id) == Zone.region_id)
        .join(InstanceTypeZone, col(InstanceTypeZone.zone_id) == Zone.id)
        .join(InstanceType, col(InstanceType.id) == InstanceTypeZone.instance_type_id)
        .where(Provider.is_active, Provider.has_adapter, Region.is_active, Zone.is_active)
        .where(InstanceType.is_active, InstanceTypeZone.is_available)
    )
    if wish.provider_id is not None:
        statement = statement.where(Provider.id == wish.provider_id)
    if wish.zone_code is not None:
        statement = statement.where(Zone.code == wish.zone_code)
    if wish.instance_type_code is not None:
        statement = statement.where(InstanceType.code == wish.instance_type_code)
    rows: Sequence[tuple[Provider, Zone, InstanceType, InstanceTypeZone]] = (await session.exec(statement)).all()
    return [_offer(*row) for row in rows]


async def zone_exists(session: AsyncSession, wish: Wish) -> bool:
    """Whether an active zone of an active region has the wished code, at the wished provider if one is named."""
    statement = (
        select(func.count())
        .select_from(Zone)
        .join(Region, col(Region.id) == Zone.region_id)
        .where(Zone.code == wish.zone_code, Zone.is_active, Region.is_active)
    )
    if wish.provider_id is not None:
        statement = statement.where(Zone.provider_id == wish.provider_id)
    return (await session.exec(statement)).one() > 0


def _offer(provider: Provider, zone: Zone, kind: InstanceType, link: InstanceTypeZone) -> Offer:
    return Offer(
        provider_id=provider.id,
        provider_code=provider.code,
        zone_id=zone.id,
        zone_code=zone.code,
        region_id=zone.region_id,
        instance_type_id=kind.id,
        instance_type_code=kind.code,
        gpu_count=kind.gpu_count,
        vram_per_gpu_gb=kind.vram_per_gpu_gb,
        ram_gb=kind.ram_gb,
        price_eur_per_hour=kind.price_eur_per_hour if link.price_eur_per_hour is None else link.price_eur_per_hour,
        billing_increment_s=kind.billing_increment_s,
        billing_minimum_s=kind.billing_minimum_s,
    )
