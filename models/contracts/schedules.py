"""What a family's schedules start, and what travels between rows, Temporal's schedules and their runs. Ids and numbers."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import BaseModel

from models.contracts.owner_kinds import OwnerKind
from models.contracts.task_queues import TaskQueue

SCHEDULE_PREFIX: Final = "schedule/"
"""Of the ids of Temporal's schedules: the id of the row follows."""

UUID_LENGTH: Final = 36

ORDERING: Final = "ScheduledOrder"
ORDERING_PREFIX: Final = "scheduled/"
"""The workflow that asks an owner for an operation, and what ids of its runs begin with."""

RESOURCE_KIND_OF_SCHEDULES: Final = "schedule"
"""By this attribute they are listed, and told from other people's."""


class ScheduledRun(BaseModel):
    """The input of what a schedule starts. The row may say otherwise by then: a run asks it before it does anything."""

    kind: str
    schedule_id: UUID
    organization_id: UUID
    resource_id: UUID


class ScheduledOutcome(BaseModel):
    """What came of one run; `reason` is why nothing was ordered."""

    operation_id: UUID | None = None
    reason: str | None = None


class LookAtSchedules(BaseModel):
    """Signal: rows have changed. They say what they are."""


class ReconcileSchedules(BaseModel):
    """One pass. `round` says whose turn it is to be compared in full, where there are more than one pass looks at."""

    round: int = 0


class SchedulesReconciled(BaseModel):
    """How many schedules a pass made, changed, deleted. `refused`: Temporal does not take them; `error_code`: it takes none."""

    created: int = 0
    changed: int = 0
    deleted: int = 0
    refused: int = 0
    error_code: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ScheduleKind:
    """What one kind of schedule does for a resource of `owner`, each time: asks it for an `operation`, or starts a `workflow`.

    A run of it has the id `<id_prefix><id of the row>-<time>`, by which activities know on whose behalf they are called.
    """

    kind: str
    owner: OwnerKind
    operation: str | None = None
    """One of the owner's kinds of operations. A run does not ask for it while one of this kind is open on the resource."""
    workflow: str = ORDERING
    id_prefix: str = ORDERING_PREFIX
    queue: str = TaskQueue.ORCHESTRATION
    start: Callable[[ScheduledRun], BaseModel] = lambda run: run
    """The workflow's input."""
    catch_up: timedelta = timedelta(minutes=1)
    """How long after its time a run may begin, where Temporal was away. At least 10 s."""

    def __post_init__(self) -> None:
        """Raises ValueError for an operation that its owner does not know."""
        if self.operation is not None and self.operation not in self.owner.operations:
            raise ValueError(f"{self.kind}: the owner knows no operation {self.operation}")

    def run_id(self, schedule_id: UUID) -> str:
        """The workflow id that Temporal appends the time to."""
        return f"{self.id_prefix}{schedule_id}"


class ScheduleKinds:
    """Every kind that this process knows. Raises ValueError where two have one name."""

    def __init__(self, kinds: Iterable[ScheduleKind]) -> None:
        self._kinds = tuple(kinds)
        self._by_name = {kind.kind: kind for kind in self._kinds}
        if len(self._by_name) != len(self._kinds):
            raise ValueError(f"two kinds of schedules have one name: {sorted(kind.kind for kind in self._kinds)}")

    def __iter__(self) -> Iterator[ScheduleKind]:
        return iter(self._kinds)

    def of(self, kind: str) -> ScheduleKind | None:
        return self._by_name.get(kind)


def schedule_id_of(row_id: UUID) -> str:
    """Of Temporal's schedule."""
    return f"{SCHEDULE_PREFIX}{row_id}"


def parse_schedule_id(schedule_id: str) -> UUID | None:
    """The row's id; None for another's schedule, also for another spelling of one of ours."""
    return _id_after(SCHEDULE_PREFIX, schedule_id)


def parse_run_id(id_prefix: str, workflow_id: str) -> UUID | None:
    """The row whose schedule started a workflow of this id; None for an id that no schedule makes."""
    end = len(id_prefix) + UUID_LENGTH
    return _id_after(id_prefix, workflow_id[:end]) if workflow_id[end:].startswith("-") else None


def _id_after(prefix: str, text: str) -> UUID | None:
    if not text.startswith(prefix):
        return None
    try:
        found = UUID(text.removeprefix(prefix))
    except ValueError:
        return None
    return found if f"{prefix}{found}" == text else None


def operation_of_run(workflow_id: str, began_at: datetime) -> UUID:
    """The id of what a run orders: always the same one, however often its activity is tried. A UUIDv7 of when the run began."""
    milliseconds = int(began_at.timestamp() * 1000).to_bytes(6, "big")
    rest = bytearray(hashlib.sha256(workflow_id.encode()).digest()[:10])
    rest[0] = rest[0] & 0x0F | 0x70
    rest[2] = rest[2] & 0x3F | 0x80
    return UUID(bytes=milliseconds + bytes(rest))
