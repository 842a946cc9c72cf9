"""Approvals as owners ask for them and hear of them.

An operation is locked before what is asked for it, here as where it is decided.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.contracts.approvals import ApprovalSeen, Question
from models.contracts.operations import ActionNote, Waiting
from models.contracts.owner_kinds import OwnerKind
from models.domain.approvals import DECIDED, ApprovalStatus, DecidedBy
from models.domain.operations import OPEN, OperationStatus, advance
from models.domain.waits import SpineWait
from models.repositories import events
from models.repositories.events import NewEvent
from models.repositories.locking import locked
from models.repositories.transaction_time import began_at
from models.repositories.waiting import show_wait
from models.tables.approvals import Approval
from models.tables.operations import Operation

MOST_SEEN = 100
"""Of those that belong to no operation an owner reads the latest: an object of which more is asked asks under operations, and of
what is asked for an open one every answer is seen.
"""

ASKED, EXPIRED = "APPROVAL_ASKED", "APPROVAL_EXPIRED"
UPDATED = "approval.updated"
"""The kind of event that says which were asked, decided or withdrawn."""


def news(organization_id: UUID, notes: Sequence[ActionNote]) -> list[NewEvent]:
    """What those who follow the organization see of what these notes of `ask` and `settle_due` say."""
    changed = [str(note.details["approval_id"]) for note in notes if note.action_type in {ASKED, EXPIRED}]
    return [updated(organization_id, changed)] if changed else []


def updated(organization_id: UUID, ids: Sequence[str]) -> NewEvent:
    """For those who follow the organization: they read the rest."""
    return NewEvent(events.organization_stream(organization_id), UPDATED, {"ids": list(ids)})


async def seen_on(session: AsyncSession, resource_id: UUID, still_open: Sequence[Operation]) -> list[ApprovalSeen]:
    """What was asked for the resource's open operations, all of it, and of the resource itself; the latest first."""
    its_own = (
        select(Approval.id)
        .where(Approval.resource_id == resource_id, col(Approval.operation_id).is_(None))
        .order_by(col(Approval.id).desc())
        .limit(MOST_SEEN)
    )
    for_operations = col(Approval.operation_id).in_([each.id for each in still_open])
    statement = (
        select(Approval)
        .where(Approval.resource_id == resource_id, or_(for_operations, col(Approval.id).in_(its_own)))
        .order_by(col(Approval.id).desc())
        .execution_options(populate_existing=True)
    )
    return [
        ApprovalSeen(
            id=row.id,
            code=row.code,
            operation_id=row.operation_id,
            status=row.status,
            decided_by=row.decided_by,
            until=row.until,
        )
        for row in (await session.exec(statement)).all()
    ]


async def ask(
    session: AsyncSession,
    owner: OwnerKind,
    resource_id: UUID,
    organization_id: UUID,
    questions: Sequence[Question],
) -> list[ActionNote]:
    """Ask what has not been asked yet; the operation of each waits for the answer from now on. What the log says of it.

    One whose operation is over meanwhile is not asked.
    """
    notes, now = [], await began_at(session)
    for question in questions:
        operation = await _locked_operation(session, question.operation_id)
        if operation is not None and operation.status not in OPEN:
            continue
        values = {
            **question.model_dump(
                include={"code", "params", "operation_id", "permission", "asker_may_approve", "cost_eur"}
            ),
            "organization_id": organization_id,
            "resource_kind": owner.resource_kind,
            "resource_id": resource_id,
            "asked_for_user_id": operation.requested_by_user_id if operation else None,
            "asked_at": now,
            "until": now + timedelta(seconds=question.open_for_s),
            "on_deadline": question.on_deadline,
            "status": ApprovalStatus.PENDING,
        }
        row = Approval(**values)
        statement = insert(Approval).values(id=row.id, **values).on_conflict_do_nothing().returning(col(Approval.id))
        if (await session.execute(statement)).scalar_one_or_none() is None:
            continue
        if operation is not None:
            _await_decision(operation, row, now)
        notes.append(ActionNote(action_type=ASKED, details={"approval_id": str(row.id), "code": question.code}))
    return notes


async def settle_due(session: AsyncSession, resource_id: UUID) -> list[ActionNote]:
    """What nobody has decided in time is decided as its row says. What the log says of it."""
    now = await began_at(session)
    due = select(Approval.operation_id, Approval.id).where(
        Approval.resource_id == resource_id, Approval.status == ApprovalStatus.PENDING, Approval.until <= now
    )
    notes = []
    for operation_id, approval_id in (await session.exec(due.order_by(col(Approval.id)))).all():
        operation = await _locked_operation(session, operation_id)
        row = (await session.exec(locked(select(Approval).where(Approval.id == approval_id)))).one()
        if row.status is not ApprovalStatus.PENDING:
            continue  # a person was faster, in a transaction that began before the deadline
        row.status, row.decided_by, row.decided_at = DECIDED[row.on_deadline], DecidedBy.DEADLINE, now
        await session.flush()
        await go_on(session, operation, now)
        notes.append(
            ActionNote(
                action_type=EXPIRED, details={"approval_id": str(row.id), "code": row.code, "status": row.status.value}
            )
        )
    return notes


async def go_on(session: AsyncSession, operation: Operation | None, now: datetime) -> None:
    """With the operation, which is locked, once nothing is asked for it any more: its owner is to see what was decided."""
    if operation is None or operation.status is not OperationStatus.WAITING_APPROVAL:
        return
    still_asked = select(Approval.id).where(
        Approval.operation_id == operation.id, Approval.status == ApprovalStatus.PENDING
    )
    if (await session.exec(still_asked.limit(1))).first() is not None:
        return
    operation.status = advance(operation.status, OperationStatus.RUNNING)
    show_wait(operation, Waiting(code=SpineWait.OWNER), now)
    await session.flush()


def _await_decision(operation: Operation, asked: Approval, now: datetime) -> None:
    """It shows the question that is over first."""
    if operation.status is OperationStatus.WAITING_APPROVAL and operation.waiting_until is not None:
        if operation.waiting_until <= asked.until:
            return
    else:
        operation.status = advance(operation.status, OperationStatus.WAITING_APPROVAL)
    operation.started_at = operation.started_at or now
    params = {**asked.params, "question": asked.code, "permission": asked.permission}
    if asked.cost_eur is not None:
        params["cost_eur"] = str(asked.cost_eur)
    show_wait(operation, Waiting(code=SpineWait.DECISION, params=params, until=asked.until), now)


async def _locked_operation(session: AsyncSession, operation_id: UUID | None) -> Operation | None:
    if operation_id is None:
        return None
    return (await session.exec(locked(select(Operation).where(Operation.id == operation_id)))).one_or_none()
