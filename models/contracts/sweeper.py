"""The sweeper: what the families look for, who is missing, what is old (DESIGN 4)."""

from uuid import UUID

from pydantic import BaseModel


class SweepInput(BaseModel):
    """`mark` is what the sweep before left in the database, which says whether database and workflow engine are of one time."""

    is_marked: bool = False
    """False for a sweep that stands alone: it neither asks for a mark nor leaves one."""
    mark: UUID | None = None


class SweepResult(BaseModel):
    found: dict[str, int] = {}
    """What the steps of the families found, without those that found nothing."""
    owners_restarted: int = 0
    purged: int = 0
    owners_told: int = 0
    """Owners that were told to read their rows again: all of them after a restore, else those whose rows do not need one."""
    mark: UUID | None = None
    """What it left in the database. It has come to its end then, whatever failed of it: the mark must reach the workflow."""
    failed_code: str | None = None
    """Of the first part of a sweep with a mark that failed."""
