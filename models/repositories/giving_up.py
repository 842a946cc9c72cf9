"""Giving an operation up that a person has not approved: whatever it is of, nothing was done for it yet that has to be undone."""

from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import Conflict
from models.contracts.outbox import OutboxMessage
from models.contracts.owner_kinds import OwnerKinds
from models.domain.approvals import ApprovalStatus
from models.domain.identity.principal import Principal
from models.domain.operations import OperationStatus, advance
from models.repositories import approvals, events, operations, outbox
from models.repositories.asking import action_of, command_to, whose
from models.repositories.inserting import insert_and_announce
from models.repositories.transaction_time import began_at
from models.tables.approvals import Approval

ACTION = "CANCEL"


async def give_up_unapproved(
    session: AsyncSession, principal: Principal, kinds: OwnerKinds, operation_id: UUID
) -> OutboxMessage:
    """It is cancelled, and what was asked for it is withdrawn; the message is what the owner is to hear once that is committed.

    Raises Conflict where it was decided a moment ago; ServiceUnavailable where this process does not know the kind of resource:
    another one may.
    """
    operation = await operations.get(session, operation_id, lock=True)
    if operation.status is not OperationStatus.WAITING_APPROVAL:
        raise Conflict("it was decided a moment ago; try again", code="OPERATION_DECIDED", retry_after_s=1)
    kind = whose(kinds, operation.resource_kind)
    statement = select(Approval.id).where(
        Approval.operation_id == operation_id, Approval.status == ApprovalStatus.PENDING
    )
    withdrawn = (await session.exec(statement.order_by(col(Approval.id)))).all()
    now = await began_at(session)
    operation.status = advance(operation.status, OperationStatus.CANCELLED)
    operation.cancel_requested_at = operation.completed_at = now
    operations.wait_for_nothing(operation)
    await session.flush()
    organization_id, resource_id = operation.organization_id, operation.resource_id
    message = command_to(kind, resource_id, organization_id, operation_id, now)
    log = action_of(principal, operation.resource_kind, resource_id, ACTION, operation_id=operation_id, now=now)
    news = [
        events.of_ended(operation_id),
        *events.of_command(organization_id, operation.resource_kind, resource_id, log.id),
        approvals.updated(organization_id, [str(each) for each in withdrawn]),
    ]
    await insert_and_announce(session, organization_id, [message, log], news)
    return outbox.message_of(message)
