"""What answers under /v1: an ASGI application of four paths, with nothing between it and the edge of the API."""

import time
from dataclasses import replace
from http import HTTPStatus

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from activities.runtime.context import RequestContext, set_context
from api.http.errors import Failure, failure_of, request_id_of, send_failure
from api.inference.answers import Journey, piece
from api.inference.caller import CallerGone, Presence, check_json, header, read_body, session_of
from api.inference.detached import DetachedCalls
from api.inference.exchange import Exchanges
from api.inference.knowledge import Knowledge
from api.inference.metering import Asked
from api.security.authenticator import Authenticator
from models.base.errors import AppError, PermissionDenied
from models.domain.identity.principal import Principal
from models.domain.identity.roles import Permission
from models.domain.inference.calls import Endpoint, parse_call

PREFIX = "/v1/"
MODELS = "/v1/models"
OWNED_BY = "quarterdeck"
NOT_FOUND = Failure(
    404, "ROUTE_NOT_FOUND", "there is no such path; /v1 has models, chat/completions, completions, embeddings"
)


class InferenceFirst:
    """Middleware: what belongs to the inference API goes there directly, everything else on to the framework."""

    def __init__(self, app: ASGIApp, *, inference: ASGIApp) -> None:
        self._app = app
        self._inference = inference

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_ours = scope["type"] == "http" and scope["path"].startswith(PREFIX)
        await (self._inference if is_ours else self._app)(scope, receive, send)


class InferenceApplication:
    """Request id, headers and the limit on bodies are the edge's; authentication, errors and everything after are here."""

    def __init__(
        self,
        authenticator: Authenticator,
        knowledge: Knowledge,
        exchanges: Exchanges,
        detached: DetachedCalls,
        default_model: str | None,
    ) -> None:
        self._authenticator = authenticator
        self._knowledge = knowledge
        self._exchanges = exchanges
        self._detached = detached
        self._default_model = default_model
        self._endpoints = {endpoint.value: endpoint for endpoint in Endpoint}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        journey = Journey(time.perf_counter(), send)
        try:
            await self._answer(scope, receive, journey)
        except CallerGone:
            return
        except AppError as error:
            await send_failure(_failure(error, journey), scope, send)

    async def _answer(self, scope: Scope, receive: Receive, journey: Journey) -> None:
        endpoint = self._endpoints.get(scope["path"])
        allowed = "POST" if endpoint is not None else "GET" if scope["path"] == MODELS else None
        if allowed is None:
            await send_failure(NOT_FOUND, scope, journey.send)
        elif scope["method"] != allowed:
            message = f"this path does not answer {scope['method']}; it answers: {allowed}"
            failure = Failure(HTTPStatus.METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message, headers={"allow": allowed})
            await send_failure(failure, scope, journey.send)
        else:
            principal = await self._caller(scope)
            if endpoint is None:
                await self._list_models(principal, journey)
            else:
                await self._complete(endpoint, principal, scope, receive, journey)

    async def _caller(self, scope: Scope) -> Principal:
        principal = (await self._authenticator.authenticate(scope["method"], scope["headers"])).principal
        if not principal.may(Permission.INFERENCE):
            raise PermissionDenied(
                f"this needs the permission {Permission.INFERENCE.value}",
                details={"permission": Permission.INFERENCE.value},
            )
        set_context(RequestContext(request_id=request_id_of(scope), organization_id=str(principal.organization_id)))
        return principal

    async def _list_models(self, principal: Principal, journey: Journey) -> None:
        seen = self._knowledge.routes().models(principal.organization_id, time.monotonic())
        data = [
            {"id": model_id, "object": "model", "created": seen_s, "owned_by": OWNED_BY}
            for model_id, seen_s in seen.items()
        ]
        body = orjson.dumps({"object": "list", "data": data})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *journey.headers()]
        await journey.send({"type": "http.response.start", "status": 200, "headers": headers})
        await journey.send(piece(body, more=False))

    async def _complete(
        self, endpoint: Endpoint, principal: Principal, scope: Scope, receive: Receive, journey: Journey
    ) -> None:
        headers = scope["headers"]
        check_json(headers)
        began_s = time.perf_counter()
        body = await read_body(receive)
        journey.waited_s += time.perf_counter() - began_s
        call = parse_call(endpoint, body, self._default_model)
        model = self._knowledge.catalog().resolve(call.model)
        asked = Asked(request_id_of(scope), principal, call, model, call.input_tokens(), session_of(headers))
        key = header(headers, b"idempotency-key")
        if key is not None:
            await self._detached.carry(key, asked, journey, receive)
            return
        upstream_body = call.upstream_body(model.model_id)
        async with Presence(receive) as presence:
            journey.presence = presence
            await self._exchanges.carry(asked, upstream_body, journey)


def _failure(error: AppError, journey: Journey) -> Failure:
    failure = failure_of(error)
    told = {name.decode(): value.decode() for name, value in journey.headers()}
    param = error.details.get("param")
    return replace(failure, headers={**failure.headers, **told}, param=None if param is None else str(param))
