"""Commands on an operation: giving it up, and deciding what it waits for."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from api.cancelling import give_up
from api.commands import Answer, Keyed, rendered, run
from api.deps import State
from api.http.idempotency import IdempotencyKeyHeader
from api.http.openapi import errors
from api.http.routing import Route
from api.schemas.approvals import OF_THE_ONLY_ONE, OperationDecisionWrite
from api.schemas.operations import OperationRead, operation_path
from api.security.permissions import require
from api.state import AppState
from api.waiting import Wait
from models.domain.approvals import Verdict
from models.domain.identity.principal import Principal
from models.domain.operations import OPEN
from models.domain.permissions.spine import SpinePermission
from models.repositories import approval_decisions, operations

router = APIRouter(prefix="/operations", tags=["operations"], route_class=Route)

Operator = Annotated[Principal, Depends(require(SpinePermission.OPERATIONS_WRITE))]
Decider = Annotated[Principal, Depends(require(SpinePermission.APPROVALS_DECIDE))]


@router.post(
    "/{operation_id}/cancel",
    summary="Give an operation up",
    status_code=202,
    response_model=OperationRead,
    responses={**errors(404, 409), 200: {"model": OperationRead, "description": "Cancelled."}},
)
async def cancel_operation(
    operation_id: UUID, operator: Operator, state: State, wait: Wait, key: IdempotencyKeyHeader = None
) -> Response:
    async def command(session: AsyncSession) -> Answer:
        message = await give_up(session, operator, operation_id, state.cancel_handlers, state.owner_kinds)
        operation = await operations.get(session, operation_id)
        body = rendered(OperationRead.of(operation, state.settings, state.owner_kinds))
        status = 202 if operation.status in OPEN else 200
        return Answer(status, body, message, {"location": operation_path(operation_id)})

    return wait.for_operation(
        await run(state, Keyed(operator, f"POST /operations/{operation_id}/cancel", key), command)
    )


@router.post(
    "/{operation_id}/approve",
    summary="Approve what an operation waits for",
    status_code=202,
    response_model=OperationRead,
    responses=errors(404, 409),
)
async def approve_operation(
    operation_id: UUID,
    decider: Decider,
    state: State,
    wait: Wait,
    *,
    body: OperationDecisionWrite = OF_THE_ONLY_ONE,
    key: IdempotencyKeyHeader = None,
) -> Response:
    return wait.for_operation(await _decide(state, decider, operation_id, Verdict.APPROVE, body=body, key=key))


@router.post(
    "/{operation_id}/reject",
    summary="Reject what an operation waits for",
    status_code=202,
    response_model=OperationRead,
    responses=errors(404, 409),
)
async def reject_operation(
    operation_id: UUID,
    decider: Decider,
    state: State,
    wait: Wait,
    *,
    body: OperationDecisionWrite = OF_THE_ONLY_ONE,
    key: IdempotencyKeyHeader = None,
) -> Response:
    return wait.for_operation(await _decide(state, decider, operation_id, Verdict.REJECT, body=body, key=key))


async def _decide(
    state: AppState,
    decider: Principal,
    operation_id: UUID,
    verdict: Verdict,
    *,
    body: OperationDecisionWrite,
    key: str | None,
) -> Response:
    async def command(session: AsyncSession) -> Answer:
        approval_id = await approval_decisions.of_operation(session, operation_id, body.approval_id)
        decision = body.decision(verdict)
        decided = await approval_decisions.decide(session, decider, state.owner_kinds, approval_id, decision)
        operation = await operations.get(session, operation_id)
        answer = rendered(OperationRead.of(operation, state.settings, state.owner_kinds))
        return Answer(202, answer, decided.message, {"location": operation_path(operation_id)})

    route = f"POST /operations/{operation_id}/{verdict.value}"
    return await run(state, Keyed(decider, route, key, body), command)
