"""One request for text, from the model server to the client: as one body, or as a stream."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from node.capabilities import Capabilities
from node.collected import CollectedAnswer, StreamError, events
from node.openai_errors import translate, translated
from node.streamed import StreamedAnswer
from node.tools import ForcedCalls, asking_for_a_call, forced_tools
from node.usage import Json, UsageSum

CHAT_PATH = "/v1/chat/completions"

STREAM_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""On a stream of events: a proxy on the way keeps none and passes each on at once."""


@dataclass(frozen=True)
class Upstream:
    url: str
    api_key: str = field(repr=False)
    capabilities: Capabilities

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"}


class Generation:
    """`body` is the client's, checked. llama.cpp is always asked for a stream and for its usage (see `collected`)."""

    def __init__(self, http: aiohttp.ClientSession, upstream: Upstream, path: str, body: Json) -> None:
        self._http = http
        self._upstream = upstream
        self._path = path
        self._body = body
        self._is_chat = path == CHAT_PATH
        self._usage = UsageSum(None if self._is_chat else _count(body.get("n")))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Leaving this early closes the connection to the server and frees its slot. Raises aiohttp.ClientError, OSError."""
        forced = forced_tools(self._body) if self._is_chat else []
        asked = asking_for_a_call(self._body, forced) if forced else self._body
        asked = asked | {"stream": True, "stream_options": {"include_usage": True}}
        async with self._http.post(
            self._upstream.url + self._path, json=asked, headers=self._upstream.authorization
        ) as answer:
            if answer.status != 200:
                return translate(answer.status, await answer.read())
            incoming = _as_calls(events(answer.content)) if forced else events(answer.content)
            try:
                first = await anext(incoming, None)
                if self._body.get("stream") is True:
                    return await self._stream(request, first, incoming)
                return await self._collect(first, incoming)
            except StreamError as error:
                return translate(500, error.body)

    async def _collect(self, first: Json | None, rest: AsyncIterator[Json]) -> web.Response:
        whole = CollectedAnswer(self._usage, chat=self._is_chat)
        if first is not None:
            whole.add(first)
        async for event in rest:
            whole.add(event)
        return web.json_response(whole.body())

    async def _stream(self, request: web.Request, first: Json | None, rest: AsyncIterator[Json]) -> web.StreamResponse:
        """Nothing has been sent before the first event: a server that fails until then is answered with a status."""
        options = self._body.get("stream_options") or {}
        passed = StreamedAnswer(
            self._usage,
            wants_usage=options.get("include_usage") is True,
            may_call_tools=bool(self._body.get("tools")),
        )
        response = web.StreamResponse(headers=STREAM_HEADERS)
        await response.prepare(request)
        try:
            if first is not None:
                await _write(response, passed.add(first))
            async for event in rest:
                await _write(response, passed.add(event))
        except StreamError as error:
            if error.body:
                await _write(response, translated(500, error.body)[1])
                await response.write_eof()
            else:
                _break_off(request)
            return response
        except (aiohttp.ClientError, OSError):
            _break_off(request)
            return response
        await _write(response, passed.closing())
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


async def _as_calls(incoming: AsyncIterator[Json]) -> AsyncIterator[Json]:
    calls = ForcedCalls()
    async for event in incoming:
        if calls.add(event):
            yield event


def _count(choices: object) -> int:
    return choices if isinstance(choices, int) and choices > 0 else 1


async def _write(response: web.StreamResponse, event: Json | None) -> None:
    if event is not None:
        await response.write(b"data: %b\n\n" % json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode())


def _break_off(request: web.Request) -> None:
    """A stream that ends cleanly reads as complete; the client has to see that this one broke."""
    if request.transport is not None:
        request.transport.abort()
