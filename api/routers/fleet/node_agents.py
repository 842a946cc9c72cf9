"""Register and heartbeat: what the agents on served machines call (contract/fleet.md 5, decision 10)."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param

from api.deps import State
from api.http.openapi import errors
from api.http.routing import Route, before_the_body
from api.node_agents.boots import BootLimits
from api.node_agents.heartbeats import Heartbeats
from api.node_agents.messages import announcement_of, heartbeat_of
from api.schemas.fleet.node_agents import HeartbeatAnswer, HeartbeatBody, RegisterAnswer, RegisterBody
from models.base.errors import NotFound, Unauthenticated
from models.domain.fleet.instances.credentials import agent_token, is_machine_token, serving_key, shown_prefix
from models.domain.fleet.instances.heartbeats import Outcome
from models.domain.fleet.instances.registration import model_mismatch
from models.domain.keys import fingerprint
from models.repositories.database import database_busy
from models.repositories.fleet import registrations

router = APIRouter(prefix="/internal/worker", tags=["node agents"], route_class=Route)

_TOKEN = HTTPBearer(scheme_name="workerToken", auto_error=False, description="A bootstrap token or an agent token.")


async def token_in_head(request: Request) -> str:
    """A token, of which only the body can tell whether it is good: it names the instance. Raises Unauthenticated."""
    scheme, token = get_authorization_scheme_param(request.headers.get("authorization"))
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("send the token as `Authorization: Bearer`")
    if not is_machine_token(token):
        raise Unauthenticated("this is neither a bootstrap token nor an agent token")
    return token


@before_the_body(token_in_head)
async def presented_token(
    request: Request, _token: Annotated[HTTPAuthorizationCredentials | None, Security(_TOKEN)]
) -> str:
    return await token_in_head(request)


Token = Annotated[str, Depends(presented_token)]


@router.post("/register", summary="Register a node agent", responses=errors(404, 409, 429))
async def register_node_agent(body: RegisterBody, token: Token, state: State, response: Response) -> RegisterAnswer:
    key = state.installation_key
    with state.of(BootLimits).counted(body.instance_id, body.boot_id):
        generation = await registrations.register(
            state.databases.agents,
            announcement_of(body),
            presented_token=token,
            agent_token_of=lambda generation: agent_token(key, body.instance_id, generation, body.nonce),
        )
    response.headers["cache-control"] = "no-store"
    granted = agent_token(key, body.instance_id, generation, body.nonce)
    return RegisterAnswer(
        bootstrap_token=granted,
        bootstrap_token_prefix=shown_prefix(granted),
        serving_key=serving_key(key, body.instance_id, generation),
        heartbeat_interval_s=state.settings.heartbeat_interval_s,
    )


@router.post("/heartbeat", summary="Report how a node agent fares", responses=errors(404, 409, 429))
async def record_heartbeat(body: HeartbeatBody, token: Token, state: State) -> HeartbeatAnswer:
    with state.of(BootLimits).counted(body.instance_id, body.boot_id):
        _check(await state.of(Heartbeats).submit(heartbeat_of(body, fingerprint(token))))
    return HeartbeatAnswer()


def _check(outcome: Outcome) -> None:
    match outcome:
        case Outcome.OK:
            return
        case Outcome.UNAUTHORIZED:
            raise Unauthenticated("this is no valid token of this instance; it may have been reinstalled since")
        case Outcome.NOT_FOUND:
            raise NotFound("there is no such instance, or none any more; its agent may stop", code="INSTANCE_NOT_FOUND")
        case Outcome.BUSY:
            raise database_busy()
        case Outcome.MODEL_MISMATCH:
            raise model_mismatch()
