"""What happens in the caller's organization, as it happens (contract/fleet.md 12)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from api.composition import AppState
from api.deps import State
from api.http.following import BATCH, Following, Look, follow
from api.http.routing import Route
from api.http.sse import EVENT_STREAM, EventStreamResponse, LastEventId, SseEvent, resume, stamped
from api.security.permissions import Caller, require
from models.base.errors import InvalidRequest
from models.domain.identity.principal import Principal
from models.domain.identity.roles import Permission
from models.repositories import events
from models.tables.activity import Event

router = APIRouter(prefix="/events", tags=["realtime"], route_class=Route)

Reader = Annotated[Principal, Depends(require(Permission.ACTIVITY_READ))]

INSTANCE_UPDATED = "instance.updated"
ACTION_LOG_CREATED = "action_log.created"
TOPICS = {"instances": INSTANCE_UPDATED, "actions": ACTION_LOG_CREATED, "action_logs": ACTION_LOG_CREATED}
"""Topic to kind of event; `action_logs` is another word for `actions`."""


async def wanted_kinds(
    topics: Annotated[str | None, Query(max_length=200, description="Comma-separated: instances, actions.")] = None,
) -> frozenset[str]:
    """Both by default. Raises InvalidRequest for a topic that does not exist."""
    names = [name.strip() for name in (topics or "").split(",") if name.strip()] or list(TOPICS)
    unknown = [name for name in names if name not in TOPICS]
    if unknown:
        raise InvalidRequest(f"unknown topic {unknown[0]!r}; there are: {', '.join(TOPICS)}", code="UNKNOWN_TOPIC")
    return frozenset(TOPICS[name] for name in names)


@router.get(
    "/stream",
    summary="Follow what happens to instances",
    response_class=EventStreamResponse,
    responses={200: EVENT_STREAM},
)
async def stream_events(
    *,
    reader: Reader,
    caller: Caller,
    state: State,
    kinds: Annotated[frozenset[str], Depends(wanted_kinds)],
    instance_id: Annotated[UUID | None, Query(description="Only this instance's actions.")] = None,
    last_event_id: LastEventId = None,
) -> EventStreamResponse:
    stream = events.organization_stream(reader.organization_id)
    async with state.database.tenant(reader.organization_id, reader.user_id) as session:
        newest = await events.newest_seq(session, stream)

    async def look(seen: int) -> Look:
        return await _look(state, reader, stream, seen)

    def written(event: Event) -> SseEvent | None:
        return SseEvent(event.kind, stamped(event), event.seq) if is_wanted(event, kinds, instance_id) else None

    resumption = resume(last_event_id, newest, otherwise=newest)
    following = Following(stream, resumption, caller.token_hash, look, written)
    return EventStreamResponse(follow(state.event_feed, state.identities, following), state.stream_slots.slot(reader))


async def _look(state: AppState, reader: Principal, stream: str, after: int) -> Look:
    async with state.database.tenant(reader.organization_id, reader.user_id) as session:
        return Look(await events.read_after(session, stream, after, BATCH))


def is_wanted(event: Event, kinds: frozenset[str], instance_id: UUID | None) -> bool:
    """The instance filters actions only."""
    if event.kind not in kinds:
        return False
    if event.kind != ACTION_LOG_CREATED or instance_id is None:
        return True
    concerned = event.data.get("instance_ids")
    return isinstance(concerned, list) and str(instance_id) in concerned
