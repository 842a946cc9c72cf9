"""How a call at the provider fares that has not come back yet."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from models.domain.holds import HoldCode


class PendingCall(BaseModel):
    """The call that the owner of the instance waits for; it has one at a time. `now` by the clock of its workflow."""

    instance_id: UUID
    now: datetime


class AttemptHeld(BaseModel):
    """What an attempt says with its heartbeats while it waits, told by its provider to, within the attempt."""

    code: HoldCode


class CallView(BaseModel):
    """`is_known` is False when Temporal could not be asked, or shows no such call; `held` None while it is worked on."""

    is_known: bool
    held: HoldCode | None = None
