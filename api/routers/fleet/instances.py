"""Instances: ordering, reading, ending, reinstalling, archiving. Every command is answered from its row."""

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from api.commands import Answer, Keyed, rendered, run
from api.deps import State
from api.http.errors import Failure, problem_body, request_id_of
from api.http.idempotency import IdempotencyKeyHeader
from api.http.json import json_response
from api.http.openapi import ErrorResponses, Problem, errors
from api.http.pagination import SearchResponse, WindowParams
from api.http.routing import Route
from api.schemas.fleet.instances import (
    DeploymentAccepted,
    DeploymentCreate,
    DeploymentRefused,
    InstanceCommanded,
    InstanceDetail,
    InstanceRead,
    instance_values,
    settled,
)
from api.schemas.operations import OperationRead, operation_path
from api.security.permissions import require
from api.state import AppState
from api.waiting import Wait
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.fleet.placement.decision import Wish
from models.domain.identity.principal import Principal
from models.domain.permissions.fleet import FleetPermission
from models.repositories.fleet import deployments
from models.repositories.fleet.deployments import Order, Placed
from models.repositories.fleet.instances import commands as instance_commands
from models.repositories.fleet.instances import listing as instance_listing
from models.repositories.fleet.instances.commands import Commanded
from models.repositories.listing import Wanted

router = APIRouter(tags=["instances"], route_class=Route)

Reader = Annotated[Principal, Depends(require(FleetPermission.INSTANCES_READ))]
Operator = Annotated[Principal, Depends(require(FleetPermission.INSTANCES_WRITE))]

REFUSED = {
    "model": DeploymentRefused | Problem,
    "description": "Refused; a row keeps the reason, unless the body is malformed or there is no such provider.",
}
ACCEPTED: ErrorResponses = {
    202: {"model": InstanceCommanded, "description": "Accepted; the operation says how far it is."}
}
ENDED: ErrorResponses = {
    200: {
        "model": InstanceCommanded,
        "description": "With `Prefer: wait`: the operation has ended; its status says how.",
    }
}


@router.post(
    "/deployments",
    summary="Order an instance",
    response_model=DeploymentAccepted,
    responses={**errors(409), 400: REFUSED},
)
async def create_deployment(
    body: DeploymentCreate,
    operator: Operator,
    state: State,
    request: Request,
    *,
    wait: Wait,
    key: IdempotencyKeyHeader = None,
) -> Response:
    wish = Wish(
        model_name=(body.model_id or "").strip() or None,
        provider_id=body.provider_id,
        provider_code=body.provider_code or None,
        zone_code=body.zone or None,
        instance_type_code=body.instance_type or None,
    )
    policy = body.on_unavailable if "on_unavailable" in body.model_fields_set else None
    place = partial(deployments.place, principal=operator, order=Order(wish, policy))
    answer = partial(_placed, state=state, request_id=request_id_of(request.scope))
    return wait.for_operation(await run(state, Keyed(operator, "POST /deployments", key, body), place, answer))


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
    filters = {"archived": archived, "status": status}
    wanted = Wanted(filters, sort_by, sort_dir.lower() != "asc", page.offset, page.limit)
    found = await instance_listing.search(state.database, reader, wanted)
    counts = {"total_count": found.total_count, "filtered_count": found.filtered_count}
    rows = [instance_values(row) for row in found.rows]
    return json_response({"offset": page.offset, "limit": page.limit, **counts, "rows": rows})


@router.get(
    "/instances/{instance_id}", summary="Read an instance", response_model=InstanceDetail, responses=errors(404)
)
async def read_instance(instance_id: UUID, reader: Reader, state: State) -> Response:
    row, storages = await instance_listing.get(state.database, reader, instance_id)
    return json_response({**instance_values(row), "storages": storages})


@router.delete(
    "/instances/{instance_id}",
    summary="Terminate an instance",
    response_model=InstanceCommanded,
    responses={**errors(404, 409), **ACCEPTED},
)
async def terminate_instance(
    instance_id: UUID, operator: Operator, state: State, wait: Wait, key: IdempotencyKeyHeader = None
) -> Response:
    terminate = partial(instance_commands.terminate, principal=operator, instance_id=instance_id)
    request = Keyed(operator, f"DELETE /instances/{instance_id}", key)
    accepted = await run(state, request, terminate, partial(_commanded, state=state))
    return wait.for_operation(accepted, settled)


@router.post(
    "/instances/{instance_id}/reinstall",
    summary="Reinstall an instance",
    status_code=202,
    response_model=InstanceCommanded,
    responses={**errors(400, 404, 409), **ENDED},
)
async def reinstall_instance(
    instance_id: UUID, operator: Operator, state: State, wait: Wait, key: IdempotencyKeyHeader = None
) -> Response:
    reinstall = partial(instance_commands.reinstall, principal=operator, instance_id=instance_id)
    request = Keyed(operator, f"POST /instances/{instance_id}/reinstall", key)
    accepted = await run(state, request, reinstall, partial(_commanded, state=state))
    return wait.for_operation(accepted, settled)


@router.put(
    "/instances/{instance_id}/archive",
    summary="Archive a terminated instance",
    response_model=InstanceCommanded,
    responses=errors(400, 404),
)
async def archive_instance(instance_id: UUID, operator: Operator, state: State) -> Response:
    archive = partial(instance_commands.archive, principal=operator, instance_id=instance_id)
    request = Keyed(operator, f"PUT /instances/{instance_id}/archive", None)
    return await run(state, request, archive, partial(_commanded, state=state))


def _placed(placed: Placed, state: AppState, request_id: str) -> Answer:
    if placed.operation is None or placed.refusal is not None:
        refusal = placed.refusal
        code, message = (refusal.code, refusal.message) if refusal else ("DB_ERROR", "the order was not written")
        problem = problem_body(Failure(400, code, message), request_id)
        body = {**problem, "status": "failed", "message": message, "instance_id": str(placed.instance_id)}
        return Answer(400, body, media_type="application/problem+json")
    operation = OperationRead.of(placed.operation, state.settings, state.owner_kinds)
    accepted = DeploymentAccepted(status="accepted", instance_id=placed.instance_id, operation=operation)
    return Answer(200, rendered(accepted), placed.message, {"location": operation_path(operation.id)})


def _commanded(commanded: Commanded, state: AppState) -> Answer:
    """202 with the operation while something is left to do, 200 when it is done."""
    operation = (
        OperationRead.of(commanded.operation, state.settings, state.owner_kinds) if commanded.operation else None
    )
    body = rendered(InstanceCommanded(status=commanded.status, instance_id=commanded.instance_id, operation=operation))
    if commanded.message is None:
        return Answer(200, body)
    headers = {"location": operation_path(operation.id)} if operation else {}
    return Answer(202, body, commanded.message, headers)
