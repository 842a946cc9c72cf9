"""What a machine or volume costs: whole begun increments, at least the minimum, in EUR at six places, rounded half up.

It bills between the moments that the API shows, to the microsecond, so that a customer can do the same sum.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from simcloud.clock import moment

SIX_PLACES = Decimal("0.000001")
NOTHING = Decimal(0).quantize(SIX_PLACES)
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Terms:
    """Use is rounded up to whole seconds, then to `minimum_s`, then to multiples of `increment_s`."""

    increment_s: int = 1
    minimum_s: int = 0


PER_SECOND = Terms()


def billed_seconds(billed_from: float, until: float, terms: Terms) -> int:
    """Of moments in seconds since the epoch. An end before the beginning bills the minimum."""
    lasted = moment(until) - moment(billed_from)
    begun = lasted.days * 86_400 + lasted.seconds + (lasted.microseconds > 0)
    increments = -(-max(begun, terms.minimum_s, 0) // terms.increment_s)
    return increments * terms.increment_s


def amount_eur(
    price_eur_per_hour: str, billed_from: float | None, billed_until: float | None, now: float, terms: Terms
) -> Decimal:
    """Nothing is owed before the meter runs; a running meter counts up to now."""
    if billed_from is None:
        return NOTHING
    seconds = billed_seconds(billed_from, now if billed_until is None else billed_until, terms)
    return (Decimal(price_eur_per_hour) * seconds / SECONDS_PER_HOUR).quantize(SIX_PLACES, rounding=ROUND_HALF_UP)
