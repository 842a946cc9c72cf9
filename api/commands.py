"""Commands: one transaction that keeps its first answer, then the owner is told (DESIGN rule 4)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import JSONResponse, Response

from activities.runtime.crash import crash_point, crash_points
from api.composition import AppState
from api.http import idempotency
from api.http.idempotency import Replay
from models.contracts.outbox import OutboxMessage
from models.domain.identity.principal import Principal

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


@dataclass(frozen=True)
class Keyed:
    """A request as idempotency sees it: whose, on which route, with which key and content."""

    principal: Principal
    route: str
    key: str | None
    content: object = None


@crash_points(name=CRASH_POINT)
async def run(state: AppState, request: Keyed, command: Callable[[AsyncSession], Awaitable[Answer]]) -> Response:
    """Run the command in a transaction of the caller's organization; the answer is that of the first request with the key.

    Raises what the command raises, and then nothing is committed.
    """
    who = request.principal
    async with state.database.tenant(who.organization_id, who.user_id) as session:
        content_hash = idempotency.request_hash(request.content) if request.key else ""
        claimed = await idempotency.claim(session, who, request.route, request.key, content_hash)
        if isinstance(claimed, Replay):
            return claimed.response()
        answer = await command(session)
        headers = {**answer.headers, "content-type": answer.media_type}
        await idempotency.keep(session, claimed, answer.status, answer.body, headers)
        crash_point(CRASH_POINT, "before_call")
    crash_point(CRASH_POINT, "after_call")
    state.eager_delivery.soon(answer.message)
    crash_point(CRASH_POINT, "after_return")
    return JSONResponse(answer.body, answer.status, dict(answer.headers), media_type=answer.media_type)


def rendered(model: BaseModel) -> dict[str, object]:
    """The model as JSON values: what is answered now and kept for a repetition."""
    return model.model_dump(mode="json", by_alias=True)
