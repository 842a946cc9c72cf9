"""Opening and closing billing segments: on the provider's clock, at the price frozen with the order (DESIGN rule 6)."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import ColumnElement, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.ids import new_id
from models.base.money import eur
from models.domain.fleet.billing.segments import PriceSource, UsageKind
from models.ports.compute import Ended, Machine, Volume
from models.repositories.fleet import zone_offers
from models.tables.fleet.billing import BillingSegment
from models.tables.fleet.instances import Instance, InstanceVolume, VolumeStatus

COST_OF_SEGMENTS = """coalesce(sum(segment_cost_eur(
    b.opened_at, coalesce(b.closed_at, now()), b.price_eur_per_hour, b.billing_increment_s, b.billing_minimum_s)), 0)
"""
"""What segments `b` came to, those that are open until now: for every question about cost."""


async def open_compute(session: AsyncSession, row: Instance, machine: Machine) -> None:
    """The machine's segment, from the moment the provider bills it. Nothing opens before the provider names that moment."""
    if machine.billed_from is None:
        return
    told, ordered = machine.price_eur_per_hour, zone_offers.price_in(row, machine.zone)
    price = ordered if ordered is not None else (eur(told) if told else None)
    source = row.price_source if ordered is not None else PriceSource.PROVIDER
    await _open(
        session,
        row,
        resource_id=machine.provider_instance_id,
        kind=UsageKind.COMPUTE,
        price=price or Decimal(0),
        source=source if price is not None else PriceSource.NONE,
        opened_at=machine.billed_from,
        increment_s=row.billing_increment_s,
        minimum_s=row.billing_minimum_s,
    )


async def track_volume(session: AsyncSession, row: Instance, volume: Volume) -> None:
    """Mirror a volume, and open its segment where the provider prices it."""
    statement = insert(InstanceVolume).values(
        id=new_id(),
        organization_id=row.organization_id,
        instance_id=row.id,
        provider_volume_id=volume.provider_volume_id,
        name=volume.name,
        volume_type=volume.volume_type,
        size_gb=volume.size_gb,
        is_boot=volume.is_boot,
        delete_on_terminate=volume.delete_on_terminate,
        status=VolumeStatus.ATTACHED if volume.attached_to else VolumeStatus.DETACHED,
        attached_at=volume.created_at if volume.attached_to else None,
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["instance_id", "provider_volume_id"],
            set_={"size_gb": volume.size_gb, "last_reconciliation": volume.created_at},
        )
    )
    if volume.billed_from is not None and volume.price_eur_per_hour is not None:
        await _open(
            session,
            row,
            resource_id=volume.provider_volume_id,
            kind=UsageKind.VOLUME,
            price=eur(volume.price_eur_per_hour),
            source=PriceSource.PROVIDER,
            opened_at=volume.billed_from,
            increment_s=volume.billing_increment_s,
            minimum_s=volume.billing_minimum_s,
        )


async def close(session: AsyncSession, row: Instance, ended: Ended, *, now: datetime) -> None:
    """Close what is open of one resource, at the provider's moment, or now where it tells none.

    A machine that ended before anybody saw it run has its segment opened here first: it was billed all the same.
    """
    is_volume = select(InstanceVolume.id).where(
        InstanceVolume.instance_id == row.id, InstanceVolume.provider_volume_id == ended.provider_id
    )
    if ended.billed_from is not None and (await session.exec(is_volume)).first() is None:
        await _open(
            session,
            row,
            resource_id=ended.provider_id,
            kind=UsageKind.COMPUTE,
            price=row.price_eur_per_hour or Decimal(0),
            source=row.price_source,
            opened_at=ended.billed_from,
            increment_s=row.billing_increment_s,
            minimum_s=row.billing_minimum_s,
        )
    await session.execute(
        update(BillingSegment)
        .where(
            col(BillingSegment.instance_id) == row.id,
            col(BillingSegment.provider_resource_id) == ended.provider_id,
            col(BillingSegment.closed_at).is_(None),
        )
        .values(closed_at=ended.billed_until or _not_before_it_opened(now), close_reason="gone")
    )
    await session.execute(
        update(InstanceVolume)
        .where(
            col(InstanceVolume.instance_id) == row.id,
            col(InstanceVolume.provider_volume_id) == ended.provider_id,
            col(InstanceVolume.deleted_at).is_(None),
        )
        .values(status=VolumeStatus.DELETED, deleted_at=ended.billed_until or now, reconciled_at=now)
    )


async def open_machines(session: AsyncSession, row: Instance) -> list[str]:
    """The machines of the instance whose segment is open."""
    statement = select(BillingSegment.provider_resource_id).where(
        BillingSegment.instance_id == row.id,
        BillingSegment.usage_kind == UsageKind.COMPUTE,
        col(BillingSegment.closed_at).is_(None),
    )
    return sorted((await session.exec(statement)).all())


async def known_volumes(session: AsyncSession, row: Instance) -> tuple[list[str], list[str]]:
    """The volumes that the instance has or had; and those of them that go with it and are not known to be gone."""
    statement = select(InstanceVolume).where(InstanceVolume.instance_id == row.id)
    volumes = (await session.exec(statement.order_by(InstanceVolume.provider_volume_id))).all()
    doomed = [one.provider_volume_id for one in volumes if one.delete_on_terminate and one.deleted_at is None]
    return [one.provider_volume_id for one in volumes], doomed


async def close_all(session: AsyncSession, row: Instance, *, now: datetime) -> None:
    """Close what is still open once everything of the instance is verified to be gone.

    A volume that was to be kept is kept, and paid for: it is detached and its segment stays open.
    """
    kept = select(InstanceVolume.provider_volume_id).where(
        InstanceVolume.instance_id == row.id,
        col(InstanceVolume.delete_on_terminate).is_(False),
        col(InstanceVolume.deleted_at).is_(None),
    )
    await session.execute(
        update(BillingSegment)
        .where(
            col(BillingSegment.instance_id) == row.id,
            col(BillingSegment.closed_at).is_(None),
            col(BillingSegment.provider_resource_id).not_in(kept),
        )
        .values(closed_at=_not_before_it_opened(now), close_reason="verified_gone")
    )
    volumes = update(InstanceVolume).where(
        col(InstanceVolume.instance_id) == row.id, col(InstanceVolume.deleted_at).is_(None)
    )
    await session.execute(
        volumes.where(col(InstanceVolume.delete_on_terminate).is_(True)).values(
            status=VolumeStatus.DELETED, deleted_at=now, reconciled_at=now
        )
    )
    await session.execute(
        volumes.where(col(InstanceVolume.delete_on_terminate).is_(False)).values(status=VolumeStatus.DETACHED)
    )


def _not_before_it_opened(now: datetime) -> ColumnElement[datetime]:
    """Our moment, where the provider tells none: its clock, by which the segment opened, may be ahead of ours."""
    return func.greatest(col(BillingSegment.opened_at), now)


async def _open(
    session: AsyncSession,
    row: Instance,
    *,
    resource_id: str,
    kind: UsageKind,
    price: Decimal,
    source: PriceSource,
    opened_at: datetime,
    increment_s: int,
    minimum_s: int,
) -> None:
    statement = insert(BillingSegment).values(
        id=new_id(),
        organization_id=row.organization_id,
        instance_id=row.id,
        provider_resource_id=resource_id,
        usage_kind=kind,
        price_eur_per_hour=price,
        price_source=source,
        billing_increment_s=increment_s,
        billing_minimum_s=minimum_s,
        opened_at=opened_at,
    )
    await session.execute(
        statement.on_conflict_do_nothing(index_elements=["instance_id", "provider_resource_id", "opened_at"])
    )
