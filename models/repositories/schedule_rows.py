"""The rows of all organizations' schedules, for the pass that compares them with Temporal's, and for the runs of those."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects import postgresql

from models.contracts.schedules import ScheduleKind
from models.domain.operations import OPEN
from models.domain.schedules import Overlap, ScheduleState, Timing
from models.repositories.database import Database
from models.repositories.operations import FOR_ITS_OWNER

READ = text("SELECT * FROM read_schedules()")
SETTLE = text("SELECT settle_schedule(:id, :revision, :digest, :error_code)")
DROP = text("SELECT drop_schedule(:id, :revision)")
RETIRE = text("SELECT retire_schedules(:resource_kind, :ids)").bindparams(
    bindparam("ids", type_=postgresql.ARRAY(postgresql.UUID))
)
ORDER = text(
    "SELECT order_scheduled(:schedule_id, :operation_id, :workflow, :workflow_id, :id_field, :open, :waiting_on)"
)


@dataclass(frozen=True)
class ScheduleRow:
    """What Temporal is to be told, and what it was told last: `digest` is of its schedule as the last pass left it."""

    id: UUID
    organization_id: UUID
    kind: str
    resource_kind: str
    resource_id: UUID
    timing: Timing
    overlap: Overlap
    is_paused: bool
    revision: int
    state: ScheduleState
    digest: str | None


class ScheduleRows:
    """Raises ServiceUnavailable while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> list[ScheduleRow]:
        """Every one, in the order of their ids."""
        async with self._database.system() as session:
            return [
                ScheduleRow(
                    id=row["id"],
                    organization_id=row["organization_id"],
                    kind=row["kind"],
                    resource_kind=row["resource_kind"],
                    resource_id=row["resource_id"],
                    timing=Timing(row["cron"], row["interval_s"], row["time_zone"]),
                    overlap=Overlap(row["overlap"]),
                    is_paused=row["is_paused"],
                    revision=row["revision"],
                    state=ScheduleState(row["state"]),
                    digest=row["applied_digest"],
                )
                for row in (await session.execute(READ)).mappings()
            ]

    async def settle(self, row: ScheduleRow, *, digest: str | None = None, error_code: str | None = None) -> bool:
        """Temporal has the row's revision, or refuses it. False where the row has another one by now."""
        values = {"id": row.id, "revision": row.revision, "digest": digest, "error_code": error_code}
        async with self._database.system() as session:
            return bool((await session.execute(SETTLE, values)).scalar_one())

    async def drop(self, row: ScheduleRow) -> bool:
        """The row of a schedule that is gone in Temporal. False where somebody has asked for it again."""
        async with self._database.system() as session:
            values = {"id": row.id, "revision": row.revision}
            return bool((await session.execute(DROP, values)).scalar_one())

    async def retire(self, resource_kind: str, resource_ids: Sequence[UUID]) -> int:
        """Have the schedules of these resources removed; how many were not yet."""
        if not resource_ids:
            return 0
        async with self._database.system() as session:
            values = {"resource_kind": resource_kind, "ids": list(resource_ids)}
            return int((await session.execute(RETIRE, values)).scalar_one())

    async def order(self, kind: ScheduleKind, schedule_id: UUID, resource_id: UUID, operation_id: UUID) -> str | None:
        """Ask the resource's owner for the kind's operation, once for each id; why it was not asked, or None. An owner that ends
        closes what is open: of one that has ended nothing is asked, and one that is asked does not end before it can see that.
        """
        values = {
            "schedule_id": schedule_id,
            "operation_id": operation_id,
            "workflow": kind.owner.workflow,
            "workflow_id": kind.owner.workflow_id(resource_id),
            "id_field": kind.owner.id_field,
            "open": [status.value for status in OPEN],
            "waiting_on": FOR_ITS_OWNER,
        }
        keep = text(kind.owner.rows.kept_open).bindparams(bindparam("ids", type_=postgresql.ARRAY(postgresql.UUID)))
        async with self._database.system() as session:
            if (await session.execute(keep, {**kind.owner.rows.values, "ids": [resource_id]})).first() is None:
                return "over"
            reason: str | None = (await session.execute(ORDER, values)).scalar_one()
            return reason
