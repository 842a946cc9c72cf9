"""Callers of HTTP/1.0 (nginx, as it comes, is one): the body and then the end of the connection, no chunks."""

import asyncio
from urllib.parse import urlsplit

import orjson
import pytest
from aiohttp import web

from api.http.protocol import HttpProtocol
from models.settings import Settings
from tests.inference.model_server import DONE, chunk, model_server, stream_of, streaming
from tests.inference.running import Api, routable, serving
from tests.inference.world import MODEL, World


async def ask(api: Api, world: World, version: str, **body: object) -> tuple[bytes, bytes]:
    """The head and the body as they come, until the connection is closed."""
    address = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    content = orjson.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello"}], **body})
    head = (
        f"POST /v1/chat/completions HTTP/{version}\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nAuthorization: {world.tenant.headers['Authorization']}\r\n\r\n"
    )
    writer.write(head.encode() + content)
    answer = await reader.read()
    writer.close()
    told, _, rest = answer.partition(b"\r\n\r\n")
    return told.lower(), rest


@pytest.mark.parametrize("stream", [True, False])
async def test_the_end_of_the_connection_ends_the_body(settings: Settings, world: World, stream: bool) -> None:
    words = [chunk("one"), chunk(" two"), DONE]
    async with serving(settings, HttpProtocol) as api, model_server() as server:
        server.script = streaming(*words, pause_s=0.02) if stream else None
        world.add_instance(server.port)
        await routable(api, world, 1)
        old_head, old_body = await ask(api, world, "1.0", stream=stream)
        new_head, new_body = await ask(api, world, "1.1", stream=stream)
    assert b"transfer-encoding" not in old_head
    assert b"connection: close" in old_head
    if stream:
        assert old_body == b"".join(words)
        assert b"transfer-encoding: chunked" in new_head
    else:
        assert old_body == new_body
        assert b"content-length: %d" % len(old_body) in old_head


async def test_a_stream_to_http_1_0_is_no_less_a_stream(settings: Settings, world: World) -> None:
    """The first word is there while the model still writes."""
    may_go_on = asyncio.Event()

    async def script(request: web.Request) -> web.StreamResponse:
        response = await stream_of(request)
        await response.write(chunk("one"))
        await may_go_on.wait()
        await response.write(DONE)
        return response

    async with serving(settings, HttpProtocol) as api, model_server(script) as server:
        world.add_instance(server.port)
        await routable(api, world, 1)
        address = urlsplit(api.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        content = orjson.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "stream": True})
        head = (
            "POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\nAuthorization: {world.tenant.headers['Authorization']}\r\n\r\n"
        )
        writer.write(head.encode() + content)
        await reader.readuntil(chunk("one"))
        may_go_on.set()
        assert await reader.read() == DONE
        writer.close()
