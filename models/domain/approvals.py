"""Approvals: what an owner asks of a person, who may answer, and what is done where nobody does (contract decision 33)."""

from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from models.base.errors import Conflict, PermissionDenied
from models.domain.identity.principal import Principal


class ApprovalStatus(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"  # what it was asked for is over without it


class Verdict(StrEnum):
    """What a person decides, and what is taken for decided when the time is over."""

    APPROVE = "approve"
    REJECT = "reject"


class DecidedBy(StrEnum):
    PERSON = "person"
    DEADLINE = "deadline"


A = ApprovalStatus

NEXT: Final[dict[ApprovalStatus, frozenset[ApprovalStatus]]] = {
    A.PENDING: frozenset({A.APPROVED, A.REJECTED, A.WITHDRAWN}),
    A.APPROVED: frozenset(),
    A.REJECTED: frozenset(),
    A.WITHDRAWN: frozenset(),
}

DECIDED: Final = {Verdict.APPROVE: A.APPROVED, Verdict.REJECT: A.REJECTED}


class Asked(Protocol):
    """What is weighed of an approval."""

    status: ApprovalStatus
    permission: str
    asker_may_approve: bool
    asked_for_user_id: UUID | None
    decided_by_user_id: UUID | None
    until: datetime


def is_repeat(asked: Asked, principal: Principal, verdict: Verdict, now: datetime) -> bool:
    """Whether the principal has decided so already: then nothing is to be done. False where it may decide so now.

    Raises PermissionDenied; Conflict for what is decided or withdrawn, for one's own request where another person has to approve
    it, and after the deadline, also where the owner has not yet taken notice of it. `now` is the database's.
    """
    if not principal.may_as_named(asked.permission):
        raise PermissionDenied(
            f"to decide this needs the permission {asked.permission}", details={"permission": asked.permission}
        )
    if asked.status is DECIDED[verdict] and asked.decided_by_user_id == principal.user_id:
        return True
    if DECIDED[verdict] not in NEXT[asked.status]:
        raise Conflict(
            f"this is {asked.status.value} already", code="APPROVAL_CLOSED", details={"status": asked.status.value}
        )
    if now >= asked.until:
        raise Conflict("the time to decide this is over", code="APPROVAL_EXPIRED")
    is_own = asked.asked_for_user_id == principal.user_id
    if verdict is Verdict.APPROVE and is_own and not asked.asker_may_approve:
        raise Conflict("what you asked for yourself has to be approved by another person", code="APPROVAL_OF_ONES_OWN")
    return False
