"""Commands on an operation: giving it up, and approving it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from api.commands import Answer, Keyed, rendered, run
from api.deps import State
from api.http.idempotency import IdempotencyKeyHeader
from api.http.openapi import errors
from api.http.routing import Route
from api.schemas.operations import OperationRead, operation_path
from api.security.permissions import require
from models.base.errors import Conflict
from models.domain.identity.principal import Principal
from models.domain.identity.roles import Permission
from models.repositories import instance_commands, operations

router = APIRouter(prefix="/operations", tags=["operations"], route_class=Route)

Operator = Annotated[Principal, Depends(require(Permission.OPERATIONS_WRITE))]


@router.post(
    "/{operation_id}/cancel",
    summary="Give an operation up",
    status_code=202,
    response_model=OperationRead,
    responses={**errors(404, 409), 200: {"model": OperationRead, "description": "Cancelled."}},
)
async def cancel_operation(
    operation_id: UUID, operator: Operator, state: State, key: IdempotencyKeyHeader = None
) -> Response:
    async def command(session: AsyncSession) -> Answer:
        commanded = await instance_commands.cancel(session, operator, operation_id)
        operation = await operations.get(session, operation_id)
        body = rendered(OperationRead.of(operation, state.settings))
        status = 200 if commanded.message is None else 202
        return Answer(status, body, commanded.message, {"location": operation_path(operation_id)})

    return await run(state, Keyed(operator, f"POST /operations/{operation_id}/cancel", key), command)


@router.post("/{operation_id}/approve", summary="Approve an operation", responses=errors(404, 409))
async def approve_operation(operation_id: UUID, operator: Operator, state: State) -> OperationRead:
    async with state.database.tenant(operator.organization_id, operator.user_id) as session:
        operation = await operations.get(session, operation_id)
    raise Conflict(
        f"this operation does not wait for an approval; it is {operation.status.value}",
        code="OPERATION_NOT_AWAITING_APPROVAL",
    )
