"""The start of a workflow that does one short thing again and again."""

from uuid import UUID

from pydantic import BaseModel


class RoundsInput(BaseModel):
    """What the runs of the schedules of before 2026-11-26 carried, which had no field, reads as one round."""

    is_endless: bool = False
    """True: the one long-lived workflow of its kind. False: one round, whose result is the workflow's."""
    mark: UUID | None = None
    """What its last round left in the database, where a kind of rounds leaves something there."""
