"""Commands: one transaction that keeps its first answer, then the owner is told (DESIGN rule 4)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast, overload

from pydantic import BaseModel
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import JSONResponse, Response

from activities.runtime.crash import crash_point, crash_points
from api.http import idempotency
from api.http.idempotency import Replay
from api.state import AppState
from models.contracts.outbox import OutboxMessage
from models.domain.identity.principal import Principal

Done = TypeVar("Done")

CRASH_POINT = "api_command"
"""Its points: before the commit; after it, with the owner not told; told, with the caller not answered."""


@dataclass(frozen=True)
class Answer:
    """What the caller gets, and what the owner must hear once it is committed."""

    status: int
    body: Mapping[str, object]
    message: OutboxMessage | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    kept: Mapping[str, object] | None = None
    """The body that a repetition gets, where something of the first is to stay in one place only."""


@dataclass(frozen=True)
class Keyed:
    """A request as idempotency sees it: whose, on which route, with which key and content."""

    principal: Principal
    route: str
    key: str | None
    content: object = None


def _as_it_is(answer: Any) -> Answer:
    return cast("Answer", answer)


@overload
async def run(state: AppState, request: Keyed, command: Callable[[AsyncSession], Awaitable[Answer]]) -> Response: ...


@overload
async def run(
    state: AppState,
    request: Keyed,
    command: Callable[[AsyncSession], Awaitable[Done]],
    answer: Callable[[Done], Answer],
) -> Response: ...


@crash_points(name=CRASH_POINT)
async def run(
    state: AppState,
    request: Keyed,
    command: Callable[[AsyncSession], Awaitable[Any]],
    answer: Callable[[Any], Answer] = _as_it_is,
) -> Response:
    """Run the command in a transaction of the caller's organization, and answer with what came of it; with the same key again,
    with the first answer.

    Raises what the command raises, and then nothing is committed.
    """
    who = request.principal
    async with state.database.tenant(who.organization_id, who.user_id) as session:
        content_hash = idempotency.request_hash(request.content) if request.key else ""
        claimed = await idempotency.claim(session, who, request.route, request.key, content_hash)
        if isinstance(claimed, Replay):
            return claimed.response()
        answered = answer(await command(session))
        headers = {**answered.headers, "content-type": answered.media_type}
        kept = answered.body if answered.kept is None else answered.kept
        await idempotency.keep(session, claimed, answered.status, kept, headers)
        crash_point(CRASH_POINT, "before_call")
    crash_point(CRASH_POINT, "after_call")
    state.eager_delivery.soon(answered.message)
    crash_point(CRASH_POINT, "after_return")
    return JSONResponse(answered.body, answered.status, dict(answered.headers), media_type=answered.media_type)


def rendered(model: BaseModel) -> dict[str, object]:
    """The model as JSON values: what is answered now and kept for a repetition."""
    return model.model_dump(mode="json", by_alias=True)
