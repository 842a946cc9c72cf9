"""What happens in the caller's organization, as it happens (contract/fleet.md 12)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from api.deps import State
from api.http.following import as_it_is, follow, following_of
from api.http.routing import Route
from api.http.sse import EVENT_STREAM, EventStreamResponse, LastEventId, SseEvent
from api.security.permissions import Caller, require
from models.base.errors import InvalidRequest
from models.contracts.owner_kinds import OwnerKinds
from models.domain.identity.principal import Principal
from models.domain.permissions.spine import SpinePermission
from models.repositories import approvals, events
from models.tables.activity import Event

router = APIRouter(prefix="/events", tags=["realtime"], route_class=Route)

Reader = Annotated[Principal, Depends(require(SpinePermission.ACTIVITY_READ))]

ACTION_LOG_CREATED = "action_log.created"
ACTIONS = {"actions": ACTION_LOG_CREATED, "action_logs": ACTION_LOG_CREATED}
"""`action_logs` is another word for `actions`."""
APPROVALS = {"approvals": approvals.UPDATED}


async def wanted_kinds(
    state: State,
    topics: Annotated[
        str | None,
        Query(
            max_length=200,
            description="Comma-separated: actions, approvals, and kinds of resources, such as instances.",
        ),
    ] = None,
) -> frozenset[str]:
    """All by default. Raises InvalidRequest for a topic that does not exist."""
    there_are = topics_of(state.owner_kinds)
    names = [name.strip() for name in (topics or "").split(",") if name.strip()] or list(there_are)
    unknown = [name for name in names if name not in there_are]
    if unknown:
        raise InvalidRequest(f"unknown topic {unknown[0]!r}; there are: {', '.join(there_are)}", code="UNKNOWN_TOPIC")
    return frozenset(there_are[name] for name in names)


def topics_of(kinds: OwnerKinds) -> dict[str, str]:
    """Topic to kind of event: every family's resources, what is done, and what people are asked."""
    return {kind.topic: kind.updated for kind in kinds} | ACTIONS | APPROVALS


@router.get(
    "/stream",
    summary="Follow what happens to instances and other resources",
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
    resource_id: Annotated[UUID | None, Query(description="Only this resource's actions, whatever it is.")] = None,
    last_event_id: LastEventId = None,
) -> EventStreamResponse:
    stream = events.organization_stream(reader.organization_id)
    wanted = Wanted(
        kinds,
        instance_id=instance_id,
        resource_id=resource_id,
        ids_fields=[kind.ids_field for kind in state.owner_kinds],
    )

    def written(event: Event) -> SseEvent | None:
        return as_it_is(event) if wanted.takes(event) else None

    following = await following_of(state.database, caller, stream, last_event_id, written=written)
    return EventStreamResponse(follow(state.event_feed, state.identities, following), state.stream_slots.slot(reader))


@dataclass(frozen=True)
class Wanted:
    """The instance, or the resource of any kind, filters actions only."""

    kinds: frozenset[str]
    instance_id: UUID | None
    resource_id: UUID | None
    ids_fields: Sequence[str]
    """Where an action names what it concerns, whatever that is."""

    def takes(self, event: Event) -> bool:
        if event.kind not in self.kinds:
            return False
        if event.kind != ACTION_LOG_CREATED:
            return True
        return _concerns(event, ["instance_ids"], self.instance_id) and _concerns(
            event, self.ids_fields, self.resource_id
        )


def _concerns(event: Event, ids_fields: Sequence[str], one: UUID | None) -> bool:
    named = [event.data.get(name) for name in ids_fields]
    return one is None or any(isinstance(ids, list) and str(one) in ids for ids in named)
