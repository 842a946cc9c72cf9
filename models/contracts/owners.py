"""What travels between an owner of any kind and its activities. A kind's own contracts are made of these, with its own fields.

A payload carries the name of its class (`activities/runtime/converter.py`): each kind gives its own classes names of their own.
"""

from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel

from models.contracts.approvals import ApprovalSeen, Question
from models.contracts.operations import ActionNote, Held, OpenOperation, OperationChange, Waiting


class OwnerState(BaseModel):
    """How an owner starts, and all that it carries from run to run: it is its workflow's input, with the ids of its object.

    Everything else an owner reads from its row. Every field beyond the ids has a default: the outbox starts an owner with the
    ids alone, and a run may be begun by a worker of before.
    """

    held: Held | None = None
    """What it holds for: it is to be said as long as it lasts, also when the row cannot be written."""


class OwnedSnapshot(BaseModel):
    """The row and its open operations at one moment, with whatever else its owner decides by.

    `read_at` is that moment by the clock of the database, like every other in here; None from a worker that did not tell.
    """

    read_at: datetime | None = None
    status: str
    """The phase; a kind has an enum of its own for it."""
    version: int
    """Grows with every change of the row that its owner has to know of."""
    held: Held | None = None
    operations: list[OpenOperation] = []
    approvals: list[ApprovalSeen] = []
    """What was asked of people for the open operations, and of the object itself; the latest first."""

    def approval(self, code: str, operation_id: UUID | None) -> ApprovalSeen | None:
        return next((one for one in self.approvals if (one.code, one.operation_id) == (code, operation_id)), None)

    def open_operation(self, kind: str) -> OpenOperation | None:
        return next((operation for operation in self.operations if operation.kind == kind), None)

    def told_moments(self) -> tuple[datetime | None, ...]:
        """Moments of the row from which its owner measures how long ago they were, or how long it is to them."""
        return tuple(one.until for one in self.approvals)


class OwnerProjection(BaseModel):
    """A change of the row by its owner. Applied once: `projection_id` tells a repeat, `expected_version` a rival."""

    projection_id: UUID
    expected_version: int
    waiting: Waiting | None = None
    keeps_waiting: bool = False
    """What the object waits for stays as it is: the change is about something else."""
    held: Held | None = None
    """What the owner holds for now; None for one that is not held, and from a worker that does not know of holds."""
    operations: list[OperationChange] = []
    actions: list[ActionNote] = []
    questions: list[Question] = []
    """What people are to be asked; what was asked before is not asked again."""
    settles_due: bool = False
    """What nobody decided in time is to be taken for decided as its question said."""


Row = TypeVar("Row", bound=OwnedSnapshot)


class AppliedTo(BaseModel, Generic[Row]):
    """`applied` is False when somebody else changed the row first: the snapshot is what stands now."""

    applied: bool
    snapshot: Row
