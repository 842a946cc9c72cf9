"""Amounts are EUR in `Decimal` with six places, rounded half up (contract decisions 11 and 30)."""

from decimal import ROUND_HALF_UP, Decimal

PLACES = Decimal("0.000001")


def eur(amount: Decimal | int | str) -> Decimal:
    """The amount at six places. Floats are refused by type: 0.1 is not a price."""
    return Decimal(amount).quantize(PLACES, rounding=ROUND_HALF_UP)
