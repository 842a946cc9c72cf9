"""Toys at the edge."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from models.domain.permissions.toys import ToyPermission  # type: ignore[import-not-found]  # it is found by listing
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from api.commands import Answer, Keyed, rendered, run
from api.deps import State
from api.family import ApiFamily, Turn
from api.http.idempotency import IdempotencyKeyHeader
from api.http.routing import Route
from api.http.sockets import Opened
from api.schemas.base import ResponseModel
from api.schemas.operations import OperationRead, operation_path
from api.security.permissions import require
from api.state import AppState
from models.domain.identity.principal import Principal
from models.repositories import events, operations
from models.repositories.asking import Asked
from tests.toys import rows
from tests.toys.contracts import TOY, Phase

router = APIRouter(prefix="/toys", tags=["toys"], route_class=Route)
Reader = Annotated[Principal, Depends(require(ToyPermission.READ))]
Writer = Annotated[Principal, Depends(require(ToyPermission.WRITE))]


sockets = APIRouter(prefix="/toys")


class ToyRead(ResponseModel):
    id: UUID
    name: str
    status: Phase


@router.get("")
async def list_toys(reader: Reader, state: State) -> list[ToyRead]:
    async with state.database.tenant(reader.organization_id, reader.user_id) as session:
        return [ToyRead(id=toy.id, name=toy.name, status=toy.status) for toy in await rows.page(session)]


@router.post("", status_code=202, response_model=OperationRead)
async def make_toy(writer: Writer, state: State, name: str, key: IdempotencyKeyHeader = None) -> Response:
    async def command(session: AsyncSession) -> Answer:
        return _accepted(state, await rows.order(session, writer, name))

    return await run(state, Keyed(writer, "POST /toys", key, name), command)


@router.delete("/{toy_id}", status_code=202, response_model=OperationRead)
async def break_toy(toy_id: UUID, writer: Writer, state: State, key: IdempotencyKeyHeader = None) -> Response:
    async def command(session: AsyncSession) -> Answer:
        return _accepted(state, await rows.end(session, writer, toy_id))

    return await run(state, Keyed(writer, f"DELETE /toys/{toy_id}", key), command)


@router.post("/{toy_id}/tick", status_code=202, response_model=OperationRead)
async def tick_toy(toy_id: UUID, writer: Writer, state: State, key: IdempotencyKeyHeader = None) -> Response:
    async def command(session: AsyncSession) -> Answer:
        return _accepted(state, await rows.tick(session, writer, toy_id))

    return await run(state, Keyed(writer, f"POST /toys/{toy_id}/tick", key), command)


@sockets.websocket("/{toy_id}/stream")
async def follow_toy(toy_id: UUID, reader: Reader, state: State, socket: Opened) -> None:
    async with state.database.tenant(reader.organization_id, reader.user_id) as session:
        await rows.get(session, toy_id)
    await socket.follow(events.organization_stream(reader.organization_id))


def _accepted(state: AppState, asked: Asked) -> Answer:
    body = rendered(OperationRead.of(asked.operation, state.settings, state.owner_kinds))
    return Answer(202, body, asked.message, {"location": operation_path(asked.operation.id)})


async def _cancel(session: AsyncSession, principal: Principal, operation_id: UUID) -> Asked:
    return await rows.end(session, principal, (await operations.get(session, operation_id)).resource_id)


FAMILY = ApiFamily(
    name="toys",
    routers={Turn.PEOPLE: (router,)},
    sockets=(sockets,),
    owners=(TOY,),
    cancel_handlers={TOY.resource_kind: _cancel},
    routes_added=Path(__file__).parents[1] / "routes.csv",
)
