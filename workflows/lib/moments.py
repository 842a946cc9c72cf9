"""The database's time, for a workflow, whose own is Temporal's: the two clocks may stand hours apart."""

from datetime import datetime, timedelta

from temporalio import workflow

from models.contracts.owners import OwnedSnapshot
from workflows import options


class Moments:
    """Each moment of the row is put on the workflow's clock once, when it is first seen: by how long ago it was in the database.

    From then on only that clock counts, as in every timer. What a worker of before read tells no time, and its moments are taken
    for the workflow's, as they were then.
    """

    def __init__(self) -> None:
        self._at: dict[datetime, datetime] = {}
        self._read_at: tuple[datetime, datetime] | None = None

    def see(self, row: OwnedSnapshot) -> None:
        now = workflow.now()
        if row.read_at is None:
            self._at, self._read_at = {}, None
            return
        known, self._at = self._at, {}
        for moment in row.told_moments():
            if moment is not None:
                self._at[moment] = known.get(moment, now - (row.read_at - moment))
        self._read_at = row.read_at, now

    def elapsed(self, moment: datetime | None) -> timedelta:
        """Since a moment of the row; nothing since one that was not yet."""
        return options.seconds(0) if moment is None else workflow.now() - self._at.get(moment, moment)

    def now(self) -> datetime:
        """For what is to stand on the row: the database's time when that was read, and what has passed since.

        The workflow's before it was read.
        """
        if self._read_at is None:
            return workflow.now()
        in_database, here = self._read_at
        return in_database + (workflow.now() - here)
