"""Asking a person, and waiting for what is decided: on the row, so that it outlives the process and the run."""

from typing import Any

from models.contracts.approvals import ApprovalSeen, Question
from models.contracts.operations import OpenOperation, OperationChange
from models.domain.approvals import ApprovalStatus, DecidedBy
from models.domain.operations import OperationStatus
from models.domain.waits import SpineWait
from workflows import options
from workflows.lib.changes import OwnerChange
from workflows.lib.owner import Owner


async def permitted(owner: Owner[Any, Any], kind: str, question: Question) -> OpenOperation | None:
    """The open operation of this kind that has its approval; None where the pass is to end and to come back.

    The approval is of that operation alone: another one of the kind does not move by it, so the change names its id. One that is
    rejected, withdrawn, or not decided in time where that means no, is cancelled here, with the code of why. The question's
    operation is that operation, which has to be there.
    """
    operation: OpenOperation | None = owner.row.open_operation(kind)
    if operation is None:
        raise RuntimeError(f"there is no open {kind} to ask for")
    decided = await decision(owner, question.model_copy(update={"operation_id": operation.id}))
    if decided is None:
        return None
    if decided.status is ApprovalStatus.APPROVED:
        return operation
    change = OperationChange(
        kind=kind,
        status=OperationStatus.CANCELLED,
        ids=[operation.id],
        error_code=_why_not(decided),
        error_message=None,
    )
    await owner.apply({"operations": [change]}, OwnerChange)
    return None


def _why_not(decided: ApprovalSeen) -> str:
    if decided.status is ApprovalStatus.WITHDRAWN:
        return "APPROVAL_WITHDRAWN"
    return "APPROVAL_EXPIRED" if decided.decided_by is DecidedBy.DEADLINE else "APPROVAL_REJECTED"


async def decision(owner: Owner[Any, Any], question: Question) -> ApprovalSeen | None:
    """What was decided, as the row says; None where the pass is to end and to come back.

    The first pass asks: the approval, and the operation that waits for it, are written in one transaction. The passes after it
    wait for news, which a decision is, or until the deadline; then the row is asked to do what the question said of it. The wait
    is one of `wait_for_news`, so that whatever else is wanted of the object meanwhile is seen by the next pass.
    """
    asked: ApprovalSeen | None = owner.row.approval(question.code, question.operation_id)
    if asked is None:
        await owner.apply({"questions": [question]}, OwnerChange, waiting=SpineWait.DECISION)
    elif asked.status is not ApprovalStatus.PENDING:
        return asked
    elif (left_s := -owner.moments.elapsed(asked.until).total_seconds()) > 0:
        await owner.wait_for_news(left_s)
    else:
        await owner.apply({"settles_due": True}, OwnerChange, waiting=SpineWait.DECISION)
        settled: ApprovalSeen | None = owner.row.approval(question.code, question.operation_id)
        if settled is not None and settled.status is ApprovalStatus.PENDING:
            await owner.wait_for_news(options.HOLD_S)  # in the database, whose clock decides, it is not yet so late
    return None
