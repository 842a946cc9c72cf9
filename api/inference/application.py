"""What answers under /v1: an ASGI application of five paths, with nothing between it and the edge of the API."""

import time

import orjson
from starlette.types import Receive, Scope

from api.http.errors import Failure
from api.inference.answers import Journey, piece
from api.inference.caller import Presence, Refused, check_json, read_body, session_of
from api.inference.detached import DetachedCalls
from api.inference.exchange import Exchanges
from api.inference.knowledge import Knowledge
from api.inference.metering import Asked
from api.inference.ready_models import ReadyModels
from api.security.authenticator import Authenticator
from models.base.errors import MalformedRequest, PermissionDenied
from models.base.json_bounds import JsonOutOfBounds, check_depth, check_json_values
from models.domain.identity.principal import Principal
from models.domain.inference.calls import Call, Endpoint, parse_call
from models.domain.permissions.inference import InferencePermission

MODELS = "/v1/models"
NO_SUCH_PATH = Failure(
    404, "ROUTE_NOT_FOUND", "there is no such path; /v1 has models, chat/completions, completions and embeddings"
)


class InferenceApplication:
    """Who calls, what they want, and whether that is possible; then it is carried out."""

    def __init__(
        self,
        authenticator: Authenticator,
        knowledge: Knowledge,
        exchanges: Exchanges,
        detached: DetachedCalls,
        *,
        default_model: str | None,
        body_limit_bytes: int,
    ) -> None:
        self._authenticator = authenticator
        self._knowledge = knowledge
        self._models = ReadyModels(knowledge)
        self._exchanges = exchanges
        self._detached = detached
        self._default_model = default_model
        self._body_limit_bytes = body_limit_bytes
        self._endpoints = {endpoint.value: endpoint for endpoint in Endpoint}

    async def answer(self, scope: Scope, receive: Receive, journey: Journey) -> None:
        """Raises AppError, Refused, CallerGone."""
        path = scope["path"].rstrip("/")
        endpoint = self._endpoints.get(path)
        if endpoint is None and path != MODELS and not path.startswith(MODELS + "/"):
            raise Refused(NO_SUCH_PATH)
        allowed = ("GET", "HEAD") if endpoint is None else ("POST",)
        if scope["method"] not in allowed:
            message = f"this path does not answer {scope['method']}; it answers: {', '.join(allowed)}"
            raise Refused(Failure(405, "METHOD_NOT_ALLOWED", message, headers={"allow": ", ".join(allowed)}))
        principal = await self._caller(scope)
        if endpoint is None:
            await self._tell_models(principal, path.removeprefix(MODELS)[1:], journey)
        else:
            await self._complete(endpoint, principal, receive, journey)

    async def _caller(self, scope: Scope) -> Principal:
        principal = (await self._authenticator.authenticate(scope["method"], scope["headers"])).principal
        if not principal.may(InferencePermission.INFERENCE):
            raise PermissionDenied(
                f"this needs the permission {InferencePermission.INFERENCE.value}",
                details={"permission": InferencePermission.INFERENCE.value},
            )
        return principal

    async def _tell_models(self, principal: Principal, name: str, journey: Journey) -> None:
        """One by its name, which may have slashes in it, or all."""
        owner = principal.organization_id
        if not self._knowledge.fresh:
            await self._knowledge.catch_up()
        body = orjson.dumps(self._models.one(owner, name) if name else self._models.listing(owner))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *journey.headers()]
        journey.has_begun = True
        await journey.send({"type": "http.response.start", "status": 200, "headers": headers})
        await journey.send(piece(body, more=False))

    async def _complete(self, endpoint: Endpoint, principal: Principal, receive: Receive, journey: Journey) -> None:
        headers = journey.request_headers
        check_json(headers)
        began_s = time.perf_counter()
        body = await read_body(receive, headers, self._body_limit_bytes)
        journey.waited_s += time.perf_counter() - began_s
        journey.is_body_read = True
        call = _parsed(endpoint, body, self._default_model)
        if not self._knowledge.fresh:
            await self._knowledge.catch_up()
        model = self._knowledge.catalog().resolve(call.model)
        self._models.check(principal.organization_id, model, call)
        asked = Asked(journey.request_id, principal, call, model, call.input_tokens(), session_of(headers))
        key = headers.get(b"idempotency-key")
        if key is not None:
            await self._detached.carry(key.decode("latin-1"), asked, journey, receive)
            return
        upstream_body = call.upstream_body(model.model_id)
        with Presence(receive) as presence:
            journey.presence = presence
            await self._exchanges.carry(asked, upstream_body, journey)


def _parsed(endpoint: Endpoint, body: bytes, default_model: str | None) -> Call:
    """Raises MalformedRequest, also for what is beyond the bounds of JSON bodies: on this surface all that is `INVALID_JSON`."""
    try:
        check_json_values(body)
        call = parse_call(endpoint, body, default_model)
        check_depth(call.document, body)
    except JsonOutOfBounds as error:
        raise MalformedRequest(error.message, code="INVALID_JSON") from error
    return call
