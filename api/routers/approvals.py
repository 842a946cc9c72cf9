"""Approvals: what people are asked, and what they decide. One family of routes for whatever asks (contract decision 33)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from api.commands import Answer, Keyed, rendered, run
from api.deps import State
from api.http.idempotency import IdempotencyKeyHeader
from api.http.openapi import errors
from api.http.pagination import DEFAULT_LIMIT, CursorPage, CursorParam, Position, clamped
from api.http.routing import Route
from api.schemas.approvals import UNEXPLAINED, ApprovalRead, DecisionWrite
from api.security.permissions import require
from api.state import AppState
from models.domain.approvals import ApprovalStatus, Verdict
from models.domain.identity.principal import Principal
from models.domain.permissions.spine import SpinePermission
from models.repositories import approval_decisions, approval_lists
from models.repositories.approval_decisions import Decision
from models.repositories.approval_lists import ApprovalFilter

router = APIRouter(prefix="/approvals", tags=["approvals"], route_class=Route)

Reader = Annotated[Principal, Depends(require(SpinePermission.APPROVALS_READ))]
Decider = Annotated[Principal, Depends(require(SpinePermission.APPROVALS_DECIDE))]


async def approval_filter(
    status: ApprovalStatus | None = None, operation_id: UUID | None = None, resource_id: UUID | None = None
) -> ApprovalFilter:
    return ApprovalFilter(status, operation_id, resource_id)


@router.get("", summary="List approvals, newest first")
async def list_approvals(
    reader: Reader,
    state: State,
    wanted: Annotated[ApprovalFilter, Depends(approval_filter)],
    before: CursorParam,
    limit: Annotated[int, Query(description="1 to 500; a number outside is moved inside.")] = DEFAULT_LIMIT,
) -> CursorPage[ApprovalRead]:
    count = clamped(limit)
    position = None if before is None else (before.created_at, before.id)
    async with state.database.tenant(reader.organization_id, reader.user_id) as session:
        rows = await approval_lists.page(session, wanted, before=position, limit=count + 1)
    return CursorPage.of(rows, count, ApprovalRead.of, lambda row: Position(row.asked_at, row.id))


@router.get("/{approval_id}", summary="Read an approval", responses=errors(404))
async def read_approval(approval_id: UUID, reader: Reader, state: State) -> ApprovalRead:
    async with state.database.tenant(reader.organization_id, reader.user_id) as session:
        return ApprovalRead.of(await approval_decisions.get(session, approval_id))


@router.post("/{approval_id}/approve", summary="Approve it", response_model=ApprovalRead, responses=errors(404, 409))
async def approve_approval(
    approval_id: UUID,
    decider: Decider,
    state: State,
    body: DecisionWrite = UNEXPLAINED,
    key: IdempotencyKeyHeader = None,
) -> Response:
    return await _decide(state, decider, approval_id, body.decision(Verdict.APPROVE), key)


@router.post("/{approval_id}/reject", summary="Reject it", response_model=ApprovalRead, responses=errors(404, 409))
async def reject_approval(
    approval_id: UUID,
    decider: Decider,
    state: State,
    body: DecisionWrite = UNEXPLAINED,
    key: IdempotencyKeyHeader = None,
) -> Response:
    return await _decide(state, decider, approval_id, body.decision(Verdict.REJECT), key)


async def _decide(
    state: AppState, decider: Principal, approval_id: UUID, decision: Decision, key: str | None
) -> Response:
    async def command(session: AsyncSession) -> Answer:
        decided = await approval_decisions.decide(session, decider, state.owner_kinds, approval_id, decision)
        body = rendered(ApprovalRead.of(decided.approval))
        return Answer(200, body, decided.message, kept={**body, "comment": None})  # its words stay in the row

    route = f"POST /approvals/{approval_id}/{decision.verdict.value}"
    return await run(state, Keyed(decider, route, key, decision.comment), command)
