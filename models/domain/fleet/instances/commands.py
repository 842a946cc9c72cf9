"""What a command comes to, by the facts of the instance alone (contract/fleet.md 2.11)."""

from dataclasses import dataclass
from enum import StrEnum

from models.base.errors import Conflict, MalformedRequest
from models.domain.fleet.instances.state import FINAL, NEXT, DesiredStatus, InstanceStatus
from models.domain.fleet.operations import OperationKind
from models.domain.fleet.provider_kind import ProviderKind
from models.domain.operations import OPEN, OperationStatus

ENDING = frozenset({InstanceStatus.DRAINING, InstanceStatus.TERMINATING})


@dataclass(frozen=True, kw_only=True)
class Commandable:
    """What decides about a command."""

    status: InstanceStatus
    desired_status: DesiredStatus
    provider: ProviderKind
    is_create_attempted: bool
    """From then on something may be billed, and only the owner can end it."""
    has_machine: bool
    """With an address."""

    @property
    def is_being_ended(self) -> bool:
        return self.desired_status is DesiredStatus.TERMINATED or self.status in ENDING


class Ending(StrEnum):
    """How a termination goes on."""

    OVER = "over"  # nothing is left to do
    AT_ONCE = "at_once"  # nothing was ever asked of a provider
    BY_ITS_OWNER = "by_its_owner"


class GivingUp(StrEnum):
    """How an operation is given up."""

    WITHDRAWN = "withdrawn"  # nothing was begun
    COMPENSATED = "compensated"  # what it made is ended


def ending(instance: Commandable) -> Ending:
    """What a termination comes to."""
    if instance.status in FINAL:
        return Ending.OVER
    return Ending.BY_ITS_OWNER if instance.is_create_attempted else Ending.AT_ONCE


def check_reinstall(instance: Commandable) -> None:
    """Raises MalformedRequest (terminated, no machine yet, or its provider installs none anew), Conflict (being terminated)."""
    if instance.status in FINAL:
        raise MalformedRequest(
            "a terminated instance cannot be reinstalled; deploy a new one", code="INSTANCE_TERMINATED"
        )
    if instance.is_being_ended:
        raise Conflict(
            "the instance is being terminated and cannot be reinstalled; deploy a new one", code="INSTANCE_TERMINATING"
        )
    if not instance.provider.can_reinstall:
        raise MalformedRequest(
            f"{instance.provider.machines} cannot be reinstalled; terminate the instance and deploy a new one",
            code="REINSTALL_NOT_SUPPORTED",
        )
    if not instance.has_machine:
        raise MalformedRequest("the instance has no machine with an address yet", code="INSTANCE_HAS_NO_MACHINE")


def check_archive(status: InstanceStatus, *, shown_as: str) -> None:
    """Raises MalformedRequest for what is not terminated; `shown_as` is what its readers see."""
    if InstanceStatus.ARCHIVED not in NEXT[status]:
        raise MalformedRequest(
            f"only a terminated instance can be archived; this one is {shown_as}", code="INSTANCE_NOT_TERMINATED"
        )


def giving_up(kind: str, status: OperationStatus) -> GivingUp:
    """How this operation is given up. Raises Conflict for one that is over, or that cannot be taken back."""
    if status not in OPEN:
        raise Conflict(f"the operation is {status.value} already", code="OPERATION_FINISHED")
    if kind == OperationKind.INSTANCE_PROVISION:
        return GivingUp.COMPENSATED
    if kind == OperationKind.INSTANCE_REINSTALL and status is OperationStatus.PENDING:
        return GivingUp.WITHDRAWN
    raise Conflict("this operation cannot be taken back any more", code="OPERATION_NOT_CANCELLABLE")
