"""The zones that an order may go to, frozen with it. It stands in the row's zone: those before are tried, those after are left.

Empty for an order that names its zone, and for one of which there is no second: these never move.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import TypedDict
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.money import eur
from models.domain.fleet.placement.offers import Offer
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


def tried(row: Instance) -> list[str]:
    """Zones that had no capacity, in the order in which they said so."""
    codes = _codes(row)
    return codes[: codes.index(row.zone_code)] if row.zone_code in codes else []


def left(row: Instance) -> list[str]:
    """Zones that nothing was sent to yet, the next one first."""
    codes = _codes(row)
    return codes[codes.index(row.zone_code) + 1 :] if row.zone_code in codes else []


async def go_on(session: AsyncSession, row: Instance, full_zone: str) -> None:
    """To the zone after the one that is full. Nothing where the row stands elsewhere already, or there is none."""
    if row.zone_code == full_zone and (following := left(row)):
        await settle(session, row, following[0])


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


def _codes(row: Instance) -> list[str]:
    return [offer["zone_code"] for offer in row.zone_offers]


def _offer(row: Instance, zone_code: str) -> ZoneOffer | None:
    return next((offer for offer in row.zone_offers if offer["zone_code"] == zone_code), None)
