"""How an instance goes on with a change of its owner: its state, the moments of it, what is done, and what failed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from models.domain.fleet.instances.progress import MACHINE_STEPS, Step, progress_percent
from models.domain.fleet.instances.state import FINAL, InstanceStatus, advance
from models.domain.fleet.operations import OperationKind

FAILED_STATES = frozenset({InstanceStatus.FAILED, InstanceStatus.STARTUP_FAILED, InstanceStatus.PROVISIONING_FAILED})
REMOVING = FAILED_STATES | {InstanceStatus.TERMINATING}


@dataclass(frozen=True, kw_only=True)
class Course:
    """Where an instance is. The fields are named as its columns are."""

    status: InstanceStatus
    generation: int
    boot_count: int
    boot_started_at: datetime | None = None
    ready_at: datetime | None = None
    failed_at: datetime | None = None
    terminated_at: datetime | None = None
    last_health_check: datetime | None = None
    endpoint_port: int | None = None
    completed_steps: Sequence[str] = ()
    error_code: str | None = None
    error_message: str | None = None
    deletion_reason: str | None = None
    deleted_by_provider: bool = False
    heal_attempts: int = 0


class Change(Protocol):
    """What an owner wants written (`models.contracts.fleet.instances.Projection`)."""

    @property
    def projection_id(self) -> UUID: ...
    @property
    def expected_version(self) -> int: ...
    @property
    def status(self) -> InstanceStatus | None: ...
    @property
    def begin_boot(self) -> bool: ...
    @property
    def least_generation(self) -> int | None: ...
    @property
    def steps(self) -> Sequence[Step]: ...
    @property
    def clear_error(self) -> bool: ...
    @property
    def error_code(self) -> str | None: ...
    @property
    def error_message(self) -> str | None: ...
    @property
    def deletion_reason(self) -> str | None: ...
    @property
    def deleted_by_provider(self) -> bool: ...
    @property
    def heal_attempts(self) -> int | None: ...


class Hearing(StrEnum):
    """What is done with a change."""

    WRITTEN = "written"
    REPEATED = "repeated"  # it is written already
    LATE = "late"  # the row went on without it: the owner looks again


def hearing(change: Change, *, last_id: UUID | None, version: int, status: InstanceStatus) -> Hearing:
    """A workflow task that was lost is decided anew, with the same ids for other changes: a repeat also expects the version
    that it found the first time.
    """
    if last_id == change.projection_id and version == change.expected_version + 1:
        return Hearing.REPEATED
    return Hearing.LATE if version != change.expected_version or status in FINAL else Hearing.WRITTEN


def is_move(course: Course, change: Change) -> bool:
    """Whether the history gains a line: a new boot is one, also in the same state."""
    return change.status is not None and (change.status is not course.status or change.begin_boot)


def after(course: Course, change: Change, now: datetime) -> Course:
    """Raises IllegalTransition for a move that the state table does not have."""
    if change.begin_boot:
        # an agent that starts anew may find its port taken; the machine tells which it has
        generation = max(course.generation + 1, change.least_generation or 0)
        course = replace(course, generation=generation, endpoint_port=None)
    if change.status is not None and is_move(course, change):
        course = _stamped(replace(course, status=advance(course.status, change.status)), now)
    return _amended(course, change)


def shown_percent(kind: str, shown: Decimal, course: Course) -> Decimal:
    """Of an open operation on the instance, which never falls. A termination has no steps."""
    if kind == OperationKind.INSTANCE_TERMINATE:
        return shown
    return max(shown, Decimal(progress_percent(course.status, {Step(step) for step in course.completed_steps})))


def _stamped(course: Course, now: datetime) -> Course:
    match course.status:
        case InstanceStatus.BOOTING:
            kept = [step for step in course.completed_steps if step in MACHINE_STEPS]
            count = course.boot_count + 1
            return replace(course, boot_started_at=now, failed_at=None, boot_count=count, completed_steps=kept)
        case InstanceStatus.READY:
            return replace(course, ready_at=now, last_health_check=now)
        case InstanceStatus.TERMINATED:
            return replace(course, terminated_at=now)
        case status if status in FAILED_STATES:
            return replace(course, failed_at=now)
    return course


def _amended(course: Course, change: Change) -> Course:
    error_code, error_message = course.error_code, course.error_message
    if change.clear_error:
        error_code = error_message = None
    if change.error_code is not None:
        error_code, error_message = change.error_code, change.error_message
    done = course.completed_steps
    return replace(
        course,
        error_code=error_code,
        error_message=error_message,
        deletion_reason=course.deletion_reason or change.deletion_reason,
        deleted_by_provider=course.deleted_by_provider or change.deleted_by_provider,
        heal_attempts=course.heal_attempts if change.heal_attempts is None else change.heal_attempts,
        completed_steps=[*done, *(step for step in change.steps if step not in done)],
    )
