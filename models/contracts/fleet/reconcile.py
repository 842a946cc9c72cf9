"""Comparing what a provider lists with our rows (DESIGN 4). Findings go to the database; only counts travel."""

from pydantic import BaseModel

from models.contracts.rounds import RoundsInput


class ReconcileRounds(RoundsInput):
    """The start of a comparison, of the provider whose workers poll this queue."""

    provider_queue: str = ""


class ReconcileInput(BaseModel):
    pass


class ReconcileResult(BaseModel):
    machines: int = 0
    """That the provider listed."""
    unowned: int = 0
    """Of them those that nobody looks after, as far as they are confirmed."""
    ended: int = 0
    """Unowned ones that an operator wanted to end and that are gone now."""
    error_code: str | None = None
    """Why there is no list; then the counts say nothing."""


class LookNow(BaseModel):
    """Signal: do not wait for the next beat."""


class FailedListing(BaseModel):
    """No worker came to the end of a comparison."""

    provider_queue: str
    error_code: str
