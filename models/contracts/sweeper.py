"""The sweeper: what the families look for, who is missing, what is old (DESIGN 4)."""

from uuid import UUID

from pydantic import BaseModel


class SweepInput(BaseModel):
    """The marks that say whether database and workflow engine are of one time: what the sweep before left in the database, and
    what this one leaves there. None for a sweep that stands alone.
    """

    mark: UUID | None = None
    next_mark: UUID | None = None


class SweepResult(BaseModel):
    found: dict[str, int] = {}
    """What the steps of the families found, without those that found nothing."""
    owners_restarted: int = 0
    purged: int = 0
    owners_told: int = 0
    """Owners that were told to read their rows again: all of them after a restore, else those whose rows do not need one."""
