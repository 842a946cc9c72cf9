"""Instances: ordering, reading, ending, reinstalling, archiving. Every command is answered from its row."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from api.commands import Answer, Keyed, rendered, run
from api.composition import AppState
from api.deps import State
from api.http.errors import Failure, problem_body, request_id_of
from api.http.idempotency import IdempotencyKeyHeader
from api.http.json import json_response
from api.http.openapi import ErrorResponses, Problem, errors
from api.http.pagination import SearchResponse, WindowParams
from api.http.routing import Route
from api.schemas.instances import (
    DeploymentAccepted,
    DeploymentCreate,
    DeploymentRefused,
    InstanceCommanded,
    InstanceDetail,
    InstanceRead,
    instance_values,
)
from api.schemas.operations import OperationRead, operation_path
from api.security.permissions import require
from models.domain.identity.principal import Principal
from models.domain.identity.roles import Permission
from models.domain.instances.state import InstanceStatus
from models.repositories import deployments, instance_commands, instance_listing
from models.repositories.deployments import Order, Placed
from models.repositories.instance_commands import Commanded
from models.repositories.instance_listing import InstanceSearch
from models.repositories.offers import Wish

router = APIRouter(tags=["instances"], route_class=Route)

Reader = Annotated[Principal, Depends(require(Permission.INSTANCES_READ))]
Operator = Annotated[Principal, Depends(require(Permission.INSTANCES_WRITE))]

REFUSED = {
    "model": DeploymentRefused | Problem,
    "description": "Refused; a row keeps the reason, unless the body is malformed or there is no such provider.",
}
ACCEPTED: ErrorResponses = {
    202: {"model": InstanceCommanded, "description": "Accepted; the operation says how far it is."}
}


@router.post(
    "/deployments",
    summary="Order an instance",
    response_model=DeploymentAccepted,
    responses={**errors(409), 400: REFUSED},
)
async def create_deployment(
    body: DeploymentCreate, operator: Operator, state: State, request: Request, key: IdempotencyKeyHeader = None
) -> Response:
    async def command(session: AsyncSession) -> Answer:
        placed = await deployments.place(session, operator, _order(body))
        return _placed(placed, state, request_id_of(request.scope))

    return await run(state, Keyed(operator, "POST /deployments", key, body), command)


@router.get("/instances", summary="List instances", response_model=list[InstanceRead])
async def list_instances(reader: Reader, state: State, *, archived: bool = False) -> Response:
    rows = await instance_listing.listing(state.database, reader, archived=archived)
    return json_response([instance_values(row) for row in rows])


@router.get("/instances/search", summary="Search instances", response_model=SearchResponse[InstanceRead])
async def search_instances(
    reader: Reader,
    state: State,
    page: WindowParams,
    *,
    archived: bool = False,
    status: InstanceStatus | None = None,
    sort_by: str = "created_at",
    sort_dir: str = "desc",
) -> Response:
    wanted = InstanceSearch(
        archived, status.value if status else None, page.offset, page.limit, sort_by, sort_dir.lower() != "asc"
    )
    found = await instance_listing.search(state.database, reader, wanted)
    counts = {"total_count": found.total_count, "filtered_count": found.filtered_count}
    rows = [instance_values(row) for row in found.rows]
    return json_response({"offset": page.offset, "limit": page.limit, **counts, "rows": rows})


@router.get(
    "/instances/{instance_id}", summary="Read an instance", response_model=InstanceDetail, responses=errors(404)
)
async def read_instance(instance_id: UUID, reader: Reader, state: State) -> Response:
    row = await instance_listing.get(state.database, reader, instance_id)
    return json_response({**instance_values(row), "storages": row["storages"]})


@router.delete(
    "/instances/{instance_id}",
    summary="Terminate an instance",
    response_model=InstanceCommanded,
    responses={**errors(404, 409), **ACCEPTED},
)
async def terminate_instance(
    instance_id: UUID, operator: Operator, state: State, key: IdempotencyKeyHeader = None
) -> Response:
    async def command(session: AsyncSession) -> Answer:
        return _commanded(await instance_commands.terminate(session, operator, instance_id), state)

    return await run(state, Keyed(operator, f"DELETE /instances/{instance_id}", key), command)


@router.post(
    "/instances/{instance_id}/reinstall",
    summary="Reinstall an instance",
    status_code=202,
    response_model=InstanceCommanded,
    responses=errors(400, 404, 409),
)
async def reinstall_instance(
    instance_id: UUID, operator: Operator, state: State, key: IdempotencyKeyHeader = None
) -> Response:
    async def command(session: AsyncSession) -> Answer:
        return _commanded(await instance_commands.reinstall(session, operator, instance_id), state)

    return await run(state, Keyed(operator, f"POST /instances/{instance_id}/reinstall", key), command)


@router.put(
    "/instances/{instance_id}/archive",
    summary="Archive a terminated instance",
    response_model=InstanceCommanded,
    responses=errors(400, 404),
)
async def archive_instance(instance_id: UUID, operator: Operator, state: State) -> Response:
    async def command(session: AsyncSession) -> Answer:
        return _commanded(await instance_commands.archive(session, operator, instance_id), state)

    return await run(state, Keyed(operator, f"PUT /instances/{instance_id}/archive", None), command)


def _order(body: DeploymentCreate) -> Order:
    wish = Wish(
        model_name=(body.model_id or "").strip() or None,
        provider_id=body.provider_id,
        provider_code=body.provider_code or None,
        zone_code=body.zone or None,
        instance_type_code=body.instance_type or None,
    )
    return Order(wish, body.on_unavailable)


def _placed(placed: Placed, state: AppState, request_id: str) -> Answer:
    if placed.operation is None or placed.refusal is not None:
        refusal = placed.refusal
        code, message = (refusal.code, refusal.message) if refusal else ("DB_ERROR", "the order was not written")
        problem = problem_body(Failure(400, code, message), request_id)
        body = {**problem, "status": "failed", "message": message, "instance_id": str(placed.instance_id)}
        return Answer(400, body, media_type="application/problem+json")
    operation = OperationRead.of(placed.operation, state.settings)
    accepted = DeploymentAccepted(status="accepted", instance_id=placed.instance_id, operation=operation)
    return Answer(200, rendered(accepted), placed.message, {"location": operation_path(operation.id)})


def _commanded(commanded: Commanded, state: AppState) -> Answer:
    """202 with the operation while something is left to do, 200 when it is done."""
    operation = OperationRead.of(commanded.operation, state.settings) if commanded.operation else None
    body = rendered(InstanceCommanded(status=commanded.status, instance_id=commanded.instance_id, operation=operation))
    if commanded.message is None:
        return Answer(200, body)
    headers = {"location": operation_path(operation.id)} if operation else {}
    return Answer(202, body, commanded.message, headers)
