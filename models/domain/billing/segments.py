"""What a billing segment costs (DESIGN rule 6, contract decision 11)."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from models.base.money import eur

SECONDS_PER_HOUR = 3600


class UsageKind(StrEnum):
    COMPUTE = "compute"
    VOLUME = "volume"
    IP = "ip"


class PriceSource(StrEnum):
    CATALOG = "catalog"  # the catalogue's price at the moment of the order
    PROVIDER = "provider"  # the provider told the price with the machine
    NONE = "none"  # no price exists: `local` only


@dataclass(frozen=True)
class Terms:
    """The price of a segment, frozen when it opens."""

    price_eur_per_hour: Decimal
    billing_increment_s: int = 1
    billing_minimum_s: int = 0


def billed_seconds(opened_at: datetime, until: datetime, terms: Terms) -> int:
    """Seconds the provider bills for [opened_at, until): at least the minimum, rounded up to whole increments.

    The part of a second that has begun counts. An `until` before `opened_at` (clocks of two parties) bills the minimum.
    """
    elapsed = until - opened_at
    whole = elapsed.days * 86_400 + elapsed.seconds + (1 if elapsed.microseconds else 0)
    seconds = max(whole, terms.billing_minimum_s, 0)
    increments = -(-seconds // terms.billing_increment_s)
    return increments * terms.billing_increment_s


def cost_eur(opened_at: datetime, until: datetime, terms: Terms) -> Decimal:
    """EUR at six places for [opened_at, until)."""
    seconds = billed_seconds(opened_at, until, terms)
    return eur(terms.price_eur_per_hour * seconds / SECONDS_PER_HOUR)
