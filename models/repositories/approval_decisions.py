"""Deciding an approval: the row first, then whoever asked is told to look (DESIGN rule 4)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import Conflict, NotFound
from models.contracts.outbox import OutboxMessage
from models.contracts.owner_kinds import OwnerKinds
from models.domain.approvals import DECIDED, DecidedBy, Verdict, is_repeat
from models.domain.identity.principal import Principal
from models.repositories import approvals, events, operations, outbox
from models.repositories.asking import action_of, command_to, whose
from models.repositories.events import NewEvent
from models.repositories.inserting import insert_and_announce
from models.repositories.locking import locked
from models.repositories.transaction_time import began_at
from models.tables.activity import ActionLog
from models.tables.approvals import Approval
from models.tables.operations import Operation

ACTIONS = {Verdict.APPROVE: "APPROVE", Verdict.REJECT: "REJECT"}


@dataclass(frozen=True)
class Decided:
    """`message` is what the owner is to hear once it is committed; None where it was decided so before."""

    approval: Approval
    message: OutboxMessage | None


@dataclass(frozen=True)
class Decision:
    verdict: Verdict
    comment: str | None = None


async def decide(
    session: AsyncSession, principal: Principal, kinds: OwnerKinds, approval_id: UUID, decision: Decision
) -> Decided:
    """Raises NotFound, PermissionDenied, Conflict (`models.domain.approvals.is_repeat` says when); ServiceUnavailable where this
    process does not know the kind of resource: another one may.
    """
    found = await get(session, approval_id)
    operation = None if found.operation_id is None else await operations.get(session, found.operation_id, lock=True)
    approval = await get(session, approval_id, lock=True)
    now = await began_at(session)
    if is_repeat(approval, principal, decision.verdict, now):
        return Decided(approval, None)
    kind = whose(kinds, approval.resource_kind)
    approval.status, approval.comment = DECIDED[decision.verdict], decision.comment
    approval.decided_by, approval.decided_at = DecidedBy.PERSON, now
    approval.decided_by_user_id, approval.decided_by_api_key_id = principal.user_id, principal.api_key_id
    await session.flush()
    await approvals.go_on(session, operation, now)
    message = command_to(kind, approval.resource_id, approval.organization_id, approval.operation_id, now)
    log = _log(approval, principal, decision.verdict, now)
    await insert_and_announce(session, approval.organization_id, [message, log], _news(approval, operation, log))
    return Decided(approval, outbox.message_of(message))


async def of_operation(session: AsyncSession, operation_id: UUID, named: UUID | None = None) -> UUID:
    """The approval that is meant: the named one, or the only one that the operation has ever asked for.

    Where it has asked for more, who decides may have seen another than the one that is pending now. Raises NotFound; Conflict for
    an operation that has asked for none, and for one of several where none is named.
    """
    operation = await operations.get(session, operation_id)
    statement = select(Approval.id).where(Approval.operation_id == operation_id).order_by(col(Approval.id))
    asked = (await session.exec(statement)).all()
    if not asked:
        raise Conflict(
            f"this operation does not wait for an approval; it is {operation.status.value}",
            code="OPERATION_NOT_AWAITING_APPROVAL",
        )
    if named is not None:
        if named not in asked:
            raise _not_found()
        return named
    if len(asked) > 1:
        raise Conflict(
            "this operation has asked for several approvals; name the one that you decide (approval_id)",
            code="SEVERAL_APPROVALS",
            details={"approvals": [str(each) for each in asked]},
        )
    return asked[0]


async def get(session: AsyncSession, approval_id: UUID, *, lock: bool = False) -> Approval:
    """Raises NotFound, also for another organization's."""
    statement = select(Approval).where(Approval.id == approval_id)
    row = (await session.exec(locked(statement) if lock else statement)).one_or_none()
    if row is None:
        raise _not_found()
    return row


def _not_found() -> NotFound:
    return NotFound(
        "your organization has no such approval; GET /approvals lists those it has", code="APPROVAL_NOT_FOUND"
    )


def _log(approval: Approval, principal: Principal, verdict: Verdict, now: datetime) -> ActionLog:
    return action_of(
        principal, approval.resource_kind, approval.resource_id, ACTIONS[verdict],
        operation_id=approval.operation_id, now=now, details={"approval_id": str(approval.id), "code": approval.code},
    )  # fmt: skip


def _news(approval: Approval, operation: Operation | None, log: ActionLog) -> list[NewEvent]:
    news = events.of_command(approval.organization_id, approval.resource_kind, approval.resource_id, log.id)
    news.append(approvals.updated(approval.organization_id, [str(approval.id)]))
    if operation is not None:
        status = {"status": operation.status, "approval": approval.status}
        news.insert(0, NewEvent(events.operation_stream(operation.id), "operation.updated", status))
    return news
