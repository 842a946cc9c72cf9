"""Types of what is answered in JSON: each has one form there, whoever answers."""

from decimal import Decimal
from typing import Annotated

from pydantic import AwareDatetime, PlainSerializer

from models.base.clock import rfc3339
from models.base.money import eur

Moment = Annotated[AwareDatetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
"""RFC 3339 in UTC with `Z`."""

Eur = Annotated[Decimal, PlainSerializer(lambda amount: float(eur(amount)), return_type=float, when_used="json")]
"""An amount in EUR at six places, as a JSON number: what clients of the contract read."""
