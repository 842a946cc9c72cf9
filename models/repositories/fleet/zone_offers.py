"""The zones that an order may go to, frozen with it. It stands in the row's zone (`models.domain.fleet.placement.zones`)."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TypedDict
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.money import eur
from models.domain.fleet.placement.offers import Offer
from models.domain.fleet.placement.zones import Zones
from models.tables.fleet.instances import Instance

SETTLE = text("SELECT settle_instance_zone(:instance, :zone)")


class ZoneOffer(TypedDict):
    """As it is stored: a price is text there, so that none is ever rounded."""

    zone_id: str
    zone_code: str
    price_eur_per_hour: str


def frozen(offers: Sequence[Offer]) -> list[ZoneOffer]:
    """What is kept of the offers of one type, in the order in which they are to be tried."""
    if len(offers) < 2:
        return []
    return [
        ZoneOffer(zone_id=str(each.zone_id), zone_code=each.zone_code, price_eur_per_hour=str(each.price_eur_per_hour))
        for each in offers
    ]


def zones_of(row: Instance) -> Zones:
    return Zones([offer["zone_code"] for offer in row.zone_offers], row.zone_code)


async def go_on(session: AsyncSession, row: Instance, full_zone: str) -> None:
    """To the zone after the one that is full, where there is one."""
    following = zones_of(row).after(full_zone)
    if following is not None:
        await settle(session, row, following)


async def settle(session: AsyncSession, row: Instance, zone_code: str) -> None:
    """The row in that zone, at its price; a zone that was never among the offers changes nothing.

    What is created there is what was to be created anywhere: the key stays the same, so that a machine which an unanswered
    create made in another zone is found.
    """
    offer = _offer(row, zone_code)
    if offer is None or zone_code == row.zone_code:
        return
    await session.execute(SETTLE, {"instance": row.id, "zone": zone_code})
    set_committed_value(
        row, "zone_id", UUID(offer["zone_id"])
    )  # as the function has written them: they are not ours to write
    set_committed_value(row, "zone_code", zone_code)
    set_committed_value(row, "price_eur_per_hour", eur(offer["price_eur_per_hour"]))
    if row.machine_spec is not None:
        row.machine_spec = {**row.machine_spec, "zone": zone_code}


def price_in(row: Instance, zone_code: str) -> Decimal | None:
    """The price that was frozen for that zone, which is the row's own where there is but one."""
    offer = _offer(row, zone_code)
    return row.price_eur_per_hour if offer is None else eur(offer["price_eur_per_hour"])


def _offer(row: Instance, zone_code: str) -> ZoneOffer | None:
    return next((offer for offer in row.zone_offers if offer["zone_code"] == zone_code), None)
