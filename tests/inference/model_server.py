"""A model server whose every answer is a script."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from tests.web_server import end

Script = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPENAI_ERROR = {"error": {"message": "out of memory", "type": "server_error", "param": None, "code": 500}, "extra": 1}
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@dataclass
class Heard:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class ModelServer:
    """`running` counts the slots in use, `cancelled` the requests whose caller went away."""

    port: int = 0
    script: Script | None = None
    heard: list[Heard] = field(default_factory=list)
    running: int = 0
    cancelled: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.heard.append(Heard(request.path, {name.lower(): value for name, value in request.headers.items()}, body))
        self.running += 1
        try:
            return await (self.script or completion)(request)
        except (asyncio.CancelledError, ConnectionResetError):
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


@asynccontextmanager
async def model_server(script: Script | None = None) -> AsyncIterator[ModelServer]:
    server = ModelServer(script=script)
    app = web.Application(client_max_size=20_000_000)
    app.router.add_post("/{path:.*}", server.answer)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await end(runner)


async def completion(_request: web.Request) -> web.StreamResponse:
    return web.json_response(
        {"id": "x", "object": "chat.completion", "choices": [{"message": {"content": "hello"}}], "usage": USAGE}
    )


def refusing(status: int, body: Any, headers: dict[str, str] | None = None) -> Script:
    async def script(_request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return script


def gzipped(body: bytes, *, status: int = 200, content_type: str = "application/json") -> Script:
    """A server that compresses whatever it was asked."""
    headers = {"Content-Encoding": "gzip", "Content-Type": content_type}

    async def script(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=gzip.compress(body), status=status, headers=headers)

    return script


def chunk(content: str | None = None, **more: Any) -> bytes:
    choices = [] if content is None else [{"index": 0, "delta": {"content": content}}]
    return b"data: " + orjson.dumps({"id": "x", "choices": choices, **more}) + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE_CHUNK = chunk(usage=USAGE)


async def stream_of(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


def streaming(*pieces: bytes, pause_s: float = 0.0) -> Script:
    """Each piece is one write, so that the caller of the proxy may see them apart."""

    async def script(request: web.Request) -> web.StreamResponse:
        response = await stream_of(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(pause_s)
        return response

    return script


def endless(pause_s: float = 0.01) -> Script:
    async def script(request: web.Request) -> web.StreamResponse:
        response = await stream_of(request)
        while True:
            await response.write(chunk("word"))
            await asyncio.sleep(pause_s)

    return script


def stalling(after: int) -> Script:
    """Some chunks, then silence for ever."""

    async def script(request: web.Request) -> web.StreamResponse:
        response = await stream_of(request)
        for _ in range(after):
            await response.write(chunk("word"))
        await asyncio.Event().wait()
        return response

    return script


def breaking(after: int) -> Script:
    """Some chunks, then the connection is gone."""

    async def script(request: web.Request) -> web.StreamResponse:
        response = await stream_of(request)
        for _ in range(after):
            await response.write(chunk("word"))
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.close()
        await asyncio.sleep(0.05)
        return response

    return script


def breaking_body(begin: bytes, *, headers: dict[str, str], status: int = 200) -> Script:
    """The beginning of an answer, then the connection is gone."""

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        await response.write(begin)
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.close()
        return response

    return script
