"""Reading operations, and following one to its end."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from api.deps import State
from api.http.following import BATCH, Following, Look, as_it_is, follow
from api.http.openapi import errors
from api.http.pagination import DEFAULT_LIMIT, CursorPage, CursorParam, Position, clamped
from api.http.routing import Route
from api.http.sse import EVENT_STREAM, EventStreamResponse, LastEventId, SseEvent, resume
from api.schemas.operations import OperationRead
from api.security.permissions import Caller, require
from api.state import AppState
from models.base.errors import InvalidRequest
from models.domain.identity.principal import Principal
from models.domain.operations import OPEN, OperationStatus
from models.domain.permissions.spine import SpinePermission
from models.repositories import events, operation_lists, operations
from models.repositories.operation_lists import OperationFilter

router = APIRouter(prefix="/operations", tags=["operations"], route_class=Route)

Reader = Annotated[Principal, Depends(require(SpinePermission.OPERATIONS_READ))]

ENDED = "operation.ended"
"""The last event of an operation's stream: its data is the operation."""


async def operation_filter(
    state: State,
    kind: Annotated[str | None, Query(description="One of a family's, such as `instance.provision`.")] = None,
    status: OperationStatus | None = None,
    resource_id: UUID | None = None,
) -> OperationFilter:
    if kind is not None and kind not in state.owner_kinds.operations:
        raise InvalidRequest(
            "there is no such kind of operation", details={"known": sorted(state.owner_kinds.operations)}
        )
    return OperationFilter(kind, status, resource_id)


@router.get("", summary="List operations, newest first")
async def list_operations(
    reader: Reader,
    state: State,
    wanted: Annotated[OperationFilter, Depends(operation_filter)],
    before: CursorParam,
    limit: Annotated[int, Query(description="1 to 500; a number outside is moved inside.")] = DEFAULT_LIMIT,
) -> CursorPage[OperationRead]:
    count = clamped(limit)
    position = None if before is None else (before.created_at, before.id)
    async with state.database.tenant(reader.organization_id, reader.user_id) as session:
        rows = await operation_lists.page(session, wanted, before=position, limit=count + 1)
    return CursorPage.of(
        rows,
        count,
        lambda row: OperationRead.of(row, state.settings, state.owner_kinds),
        lambda row: Position(row.created_at, row.id),
    )


@router.get("/{operation_id}", summary="Read an operation", responses=errors(404))
async def read_operation(operation_id: UUID, reader: Reader, state: State) -> OperationRead:
    async with state.database.tenant(reader.organization_id, reader.user_id) as session:
        return OperationRead.of(await operations.get(session, operation_id), state.settings, state.owner_kinds)


@router.get(
    "/{operation_id}/events",
    summary="Follow an operation to its end",
    response_class=EventStreamResponse,
    responses={**errors(404), 200: EVENT_STREAM},
)
async def follow_operation(
    operation_id: UUID, reader: Reader, caller: Caller, state: State, last_event_id: LastEventId = None
) -> EventStreamResponse:
    stream = events.operation_stream(operation_id)
    async with state.database.tenant(reader.organization_id, reader.user_id) as session:
        await operations.get(session, operation_id)
        newest = await events.newest_seq(session, stream)

    async def look(after: int) -> Look:
        return await _look(state, reader, operation_id, after)

    resumption = resume(last_event_id, newest, otherwise=0)
    following = Following(stream, resumption, caller.token_hash, look, as_it_is)
    return EventStreamResponse(follow(state.event_feed, state.identities, following), state.stream_slots.slot(reader))


async def _look(state: AppState, reader: Principal, operation_id: UUID, after: int) -> Look:
    """The operation is read before its events: what ended it is then among them."""
    async with state.database.tenant(reader.organization_id, reader.user_id) as session:
        row = await operations.get(session, operation_id)
        found = await events.read_after(session, events.operation_stream(operation_id), after, BATCH)
    if row.status in OPEN:
        return Look(found)
    return Look(
        found,
        SseEvent(
            ENDED, OperationRead.of(row, state.settings, state.owner_kinds).model_dump(mode="json", by_alias=True)
        ),
    )
