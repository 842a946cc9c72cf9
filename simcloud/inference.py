"""The model servers of all machines behind one address: a request reaches the machine whose serving key it bears."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from simcloud import knobs
from simcloud.echo import BadBody, Reply, chat_reply, completion_reply, embeddings
from simcloud.errors import Missing
from simcloud.fleet import AgentState, Fleet, Resident, Traits
from simcloud.http import bearer, cut_connection
from simcloud.inference_ledger import CANCELLED, COMPLETED, FAILED, Entry, InferenceLedger

log = logging.getLogger(__name__)

PATHS = frozenset({"/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/embeddings"})

STREAM_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class RequestFailed(Exception):
    def __init__(self, status: int, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": _error_type(status), "param": param, "code": code}}


@dataclass(frozen=True)
class Call:
    """One inference request that found its machine."""

    request: web.Request
    resident: Resident
    traits: Traits
    body: Mapping[str, Any]
    entry: Entry

    @property
    def model(self) -> str:
        return self.resident.agent.boot.model_id

    @property
    def reply_id(self) -> str:
        return uuid.uuid4().hex


Answering = Callable[[Call], Awaitable[web.StreamResponse]]


class Inference:
    def __init__(self, fleet: Fleet, ledger: InferenceLedger) -> None:
        self._fleet = fleet
        self._ledger = ledger

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/models", self._models),
            web.post("/v1/chat/completions", self._answering(self._chat)),
            web.post("/v1/completions", self._answering(self._completion)),
            web.post("/v1/embeddings", self._answering(self._embeddings)),
        ]

    async def _models(self, request: web.Request) -> web.StreamResponse:
        try:
            resident = await self._resident(request)
        except RequestFailed as failed:
            return _json(failed.body, failed.status)
        model = {"id": resident.agent.boot.model_id, "object": "model", "created": 0, "owned_by": "simcloud"}
        return _json({"object": "list", "data": [model]})

    def _answering(self, answer: Answering) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handler(request: web.Request) -> web.StreamResponse:
            try:
                resident = await self._resident(request)
            except RequestFailed as failed:
                return _json(failed.body, failed.status)
            entry = self._ledger.open(
                resident.agent.identity.machine_id, request.path, request.headers.get("x-request-id")
            )
            try:
                response = await self._served(request, resident, entry, answer)
            except RequestFailed as failed:
                self._ledger.close(entry, FAILED, failed.status)
                return _json(failed.body, failed.status)
            except (asyncio.CancelledError, ConnectionError):
                self._ledger.close(entry, CANCELLED)
                raise
            except Exception:
                self._ledger.close(entry, FAILED, 500)
                raise
            if entry.ended_at is None:
                self._ledger.close(entry, COMPLETED, response.status)
            return response

        return handler

    async def _resident(self, request: web.Request) -> Resident:
        """The machine behind the key. One that is dead drops the connection, one that hangs never answers."""
        try:
            resident = self._fleet.serving(bearer(request))
        except Missing:
            raise RequestFailed(401, "invalid_api_key", "the serving key is missing or unknown") from None
        if resident is not None and resident.state is AgentState.HUNG:
            await asyncio.Event().wait()
        if resident is None or resident.state is not AgentState.RUNNING:
            cut_connection(request)
            raise ConnectionResetError("the machine is down")
        if not resident.agent.is_serving:
            raise RequestFailed(503, "model_loading", "the model is still loading")
        return resident

    async def _served(
        self, request: web.Request, resident: Resident, entry: Entry, answer: Answering
    ) -> web.StreamResponse:
        try:
            body = orjson.loads(await request.read())
            traits = knobs.from_headers(request.headers, resident.traits)
        except BadBody as bad:
            raise RequestFailed(400, "invalid_request", bad.message, bad.param) from None
        except ValueError:
            raise RequestFailed(400, "invalid_json", "the body is not JSON") from None
        if not isinstance(body, dict):
            raise RequestFailed(400, "invalid_json", "the body is not a JSON object")
        entry.model = body["model"][:200] if isinstance(body.get("model"), str) else None
        entry.is_stream = body.get("stream") is True
        if entry.model != resident.agent.boot.model_id:
            raise RequestFailed(404, "model_not_found", "this machine serves another model", "model")
        async with resident.agent.slot():
            if traits.delay_ms:
                await asyncio.sleep(traits.delay_ms / 1000)
            if traits.status is not None:
                raise RequestFailed(traits.status, "simulated", "a failure that was asked for")
            try:
                return await answer(Call(request, resident, traits, body, entry))
            except BadBody as bad:
                raise RequestFailed(400, "invalid_request", bad.message, bad.param) from None

    async def _chat(self, call: Call) -> web.StreamResponse:
        return await self._reply(call, chat_reply(call.body, call.reply_id, call.model, call.traits.chunks))

    async def _completion(self, call: Call) -> web.StreamResponse:
        return await self._reply(call, completion_reply(call.body, call.reply_id, call.model, call.traits.chunks))

    async def _embeddings(self, call: Call) -> web.StreamResponse:
        body, used = embeddings(call.body, call.model)
        call.entry.prompt_tokens = used
        return _json(body)

    async def _reply(self, call: Call, reply: Reply) -> web.StreamResponse:
        call.entry.prompt_tokens = reply.prompt_tokens
        if call.entry.is_stream:
            return await self._stream(call, reply)
        if call.traits.chunk_delay_ms:
            await asyncio.sleep(call.traits.chunk_delay_ms / 1000 * len(reply.pieces))
        if call.traits.fail_after_chunks is not None:
            cut_connection(call.request)
            raise ConnectionResetError("a failure that was asked for")
        call.entry.completion_tokens = reply.usage()["completion_tokens"]
        return _json(reply.body())

    async def _stream(self, call: Call, reply: Reply) -> web.StreamResponse:
        options = call.body.get("stream_options")
        include_usage = isinstance(options, dict) and options.get("include_usage") is True
        response = web.StreamResponse(headers=STREAM_HEADERS)
        await response.prepare(call.request)
        for sent, chunk in reply.chunks(include_usage=include_usage):
            if call.traits.fail_after_chunks is not None and call.entry.chunks >= call.traits.fail_after_chunks:
                self._ledger.close(call.entry, FAILED)
                cut_connection(call.request)
                return response
            await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")
            call.entry.chunks += 1
            call.entry.completion_tokens = reply.usage(sent)["completion_tokens"] if sent else 0
            if call.traits.chunk_delay_ms:
                await asyncio.sleep(call.traits.chunk_delay_ms / 1000)
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def _error_type(status: int) -> str:
    return "invalid_request_error" if status < 500 else "server_error"
