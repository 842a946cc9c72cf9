"""The announced port: who may ask, in which order, and what becomes of a request whose client leaves."""

import hmac
import logging
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import web

from node.bad_request import BadRequest
from node.boot import Boot
from node.capabilities import Capabilities
from node.embedding import Embedder, EmbedderUnavailable
from node.fields import check_chat, check_completion, check_embedding
from node.generating import CHAT_PATH, Generation, Upstream
from node.json_depth import parsed
from node.model_server import ModelServer
from node.openai_errors import openai_error, translate
from node.slots import SlotGate
from node.usage import Json

BODY_LIMIT_BYTES = 10 * 1024 * 1024
EVENT_LIMIT_BYTES = 1024 * 1024
"""Longest line of a stream; one with log probabilities of many tokens is far above aiohttp's default."""

HTTP_ERRORS = {
    404: ("there is no such route", "not_found"),
    405: ("the route does not know this method", "method_not_allowed"),
    413: (f"the body is larger than {BODY_LIMIT_BYTES} bytes", "payload_too_large"),
}

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Front:
    """`upstream` is the loaded model server, None while there is none; `serving_key` what clients have to present."""

    def __init__(self, boot: Boot, gate: SlotGate, *, created: int) -> None:
        self._boot = boot
        self._embedder = Embedder(boot)
        self._gate = gate
        self._created = created
        self._http: aiohttp.ClientSession | None = None
        self.upstream: Upstream | None = None
        self.serving_key: str | None = None

    def application(self) -> web.Application:
        app = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[self._guard])
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{id:.+}", self._one_model)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_post("/v1/embeddings", self._embed)
        app.on_startup.append(self._open)
        app.on_cleanup.append(self._close)
        return app

    async def _open(self, _: web.Application) -> None:
        self._http = aiohttp.ClientSession(
            # A generation may take as long as it takes; the client's patience is the limit.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            read_bufsize=EVENT_LIMIT_BYTES,
            trust_env=False,
        )

    async def _close(self, _: web.Application) -> None:
        await self._embedder.stop()
        if self._http is not None:
            await self._http.close()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path != "/health" and not self._knows(request):
            return openai_error(401, "a valid key is required", code="invalid_api_key")
        try:
            return await handler(request)
        except BadRequest as bad:
            return openai_error(bad.status, bad.message, code=bad.code, param=bad.param)
        except web.HTTPException as error:
            message, code = HTTP_ERRORS.get(error.status, ("the request is malformed", "bad_request"))
            return openai_error(error.status, message, code=code)

    def _knows(self, request: web.Request) -> bool:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self.serving_key:
            return False
        return hmac.compare_digest(key.encode(errors="surrogateescape"), self.serving_key.encode())

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("the application was not started")
        return self._http

    @property
    def capabilities(self) -> Capabilities | None:
        """Of the loaded model; None while there is none."""
        return None if self.upstream is None else self.upstream.capabilities

    async def _health(self, _: web.Request) -> web.Response:
        if self.upstream is None:
            return web.json_response({"status": "loading"}, status=503)
        return web.json_response({"status": "ok"})

    def _model(self) -> Json:
        return {
            "id": self._boot.model_id,
            "object": "model",
            "created": self._created,
            "owned_by": "quarterdeck",
            "max_model_len": self._boot.context_length,
            "capabilities": None if self.capabilities is None else self.capabilities.as_openai(),
        }

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [self._model()]})

    async def _one_model(self, request: web.Request) -> web.Response:
        if request.match_info["id"] != self._boot.model_id:
            return openai_error(404, f"this node serves {self._boot.model_id}", code="model_not_found", param="model")
        return web.json_response(self._model())

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, CHAT_PATH)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, "/v1/completions")

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        if self.upstream is None:
            return _unavailable()
        check_embedding(body)
        try:
            async with self._embedder.turn() as server:
                return await self._embeddings(server, body)
        except (aiohttp.ClientError, OSError, EmbedderUnavailable):
            return _unavailable()

    async def _generate(self, request: web.Request, path: str) -> web.StreamResponse:
        body = await self._body(request)
        capabilities = self.capabilities
        if capabilities is None:
            return _unavailable()
        if path == CHAT_PATH:
            check_chat(body, capabilities)
        else:
            check_completion(body)
        async with self._gate.slot():
            if self.upstream is None:
                return _unavailable()
            try:
                return await Generation(self._session, self.upstream, path, body).answer(request)
            except (aiohttp.ClientError, OSError) as error:
                log.warning("the model server did not answer: %s", type(error).__name__)
                return _unavailable()

    async def _body(self, request: web.Request) -> Json:
        """The request's JSON object. Raises BadRequest."""
        try:
            body = parsed(await request.read())
        except ValueError:
            raise BadRequest("the body is not JSON, or nested too deeply", None, code="invalid_json") from None
        if not isinstance(body, dict):
            raise BadRequest("the body must be a JSON object", None, code="invalid_json")
        if body.get("model", self._boot.model_id) != self._boot.model_id:
            raise BadRequest(f"this node serves {self._boot.model_id}", "model", code="model_not_found", status=404)
        return body

    async def _embeddings(self, server: ModelServer, body: Json) -> web.Response:
        url = server.url + "/v1/embeddings"
        async with self._session.post(url, json=body, headers={"Authorization": f"Bearer {server.api_key}"}) as answer:
            if answer.status != 200:
                return translate(answer.status, await answer.read())
            return web.Response(body=await answer.read(), content_type="application/json")


def _unavailable() -> web.Response:
    return openai_error(503, "the model is not loaded", code="model_unavailable", kind="server_error", retry_after_s=2)
