"""What is no HTTP, or has no end: answered with a code or hung up on, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json

import httpx
import pytest

from tests.api.wire import answer_from, connected, raw

RAW = {
    "no request at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no method": b"/instances HTTP/1.1\r\nhost: x\r\n\r\n",
    "an unknown method": b"BREW /instances HTTP/1.1\r\nhost: x\r\n\r\n",
    "a length that is none": b"POST /deployments HTTP/1.1\r\nhost: x\r\ncontent-length: ten\r\n\r\n",
    "a negative length": b"POST /deployments HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    "two lengths": b"POST /deployments HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
    "a length and chunks": b"POST /deployments HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk of no size": b"POST /deployments HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
    "no host": b"GET /version HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /version HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n",
    "two hosts in HTTP/1.0": b"GET /version HTTP/1.0\r\nhost: x\r\nhost: y\r\n\r\n",
    "a host that is none": b"GET /version HTTP/1.1\r\nhost: x/y\r\n\r\n",
    "two hosts in one": b"GET /version HTTP/1.1\r\nhost: x y\r\n\r\n",
    "no host for a model": b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}",
    "a header without a name": b"GET /instances HTTP/1.1\r\nhost: x\r\n: value\r\n\r\n",
    "a header with a line feed in it": b"GET /instances HTTP/1.1\r\nhost: x\r\nx: a\rb\r\n\r\n",
}


@pytest.mark.parametrize("what", RAW)
async def test_what_is_no_http_is_400_with_a_code(url: str, what: str):
    status, body = await raw(url, RAW[what])
    assert (status, json.loads(body)["code"]) == (400, "MALFORMED_REQUEST")
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{url}/health")).status_code == 200


@pytest.mark.parametrize(
    "head", ["HTTP/1.0\r\n", "HTTP/1.0\r\nHost: x\r\n", "HTTP/1.1\r\nHost:\r\n", "HTTP/1.1\r\nHOST: [::1]:8000\r\n"]
)
async def test_a_host_is_asked_of_http_1_1_only_and_may_be_empty(url: str, head: str):
    """RFC 9112, section 3.2."""
    assert (await raw(url, f"GET /version {head}\r\n".encode()))[0] == 200


async def test_a_second_request_has_to_name_its_host_too(url: str):
    reader, writer = await connected(url)
    writer.write(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await answer_from(reader))[0] == 200
    writer.write(b"GET /version HTTP/1.1\r\n\r\n")
    assert (await answer_from(reader))[0] == 400
    writer.close()


@pytest.mark.parametrize("kind", ["one header", "many headers", "the address"])
async def test_a_head_without_end_is_cut_off(url: str, kind: str):
    """Nobody may fill the memory before the first line of a request is complete."""
    most_bytes, letters = 20_000_000, b"a" * 50_000
    begin, part = {
        "one header": (b"GET / HTTP/1.1\r\nx: ", letters),
        "many headers": (b"GET / HTTP/1.1\r\n", b"x: " + letters[:1000] + b"\r\n"),
        "the address": (b"GET /", letters),
    }[kind]
    reader, writer = await connected(url)
    answer = asyncio.create_task(answer_from(reader))
    writer.write(begin)
    sent_bytes = 0
    with contextlib.suppress(ConnectionError):
        while sent_bytes < most_bytes and not answer.done():
            writer.write(part)
            sent_bytes += len(part)
            await writer.drain()
            await asyncio.sleep(0)
    assert sent_bytes < most_bytes, "all of it was taken"
    status, body = await answer
    writer.close()
    assert (status, json.loads(body)["code"]) == (431, "HEADERS_TOO_LARGE")


CHUNKED = (
    b"POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
)


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"0\r\nx: ", b"a" * 50_000),
        (b"0\r\n", b"x: " + b"a" * 1_000 + b"\r\n"),
        (b"1;x=", b"a" * 50_000),
    ],
    ids=["one trailer", "many trailers", "a chunk size"],
)
async def test_what_is_around_a_body_has_an_end_too(url: str, begin: bytes, part: bytes):
    """Whether or not the request has been answered by then: who goes on sending is hung up on."""
    most_bytes = 20_000_000
    reader, writer = await connected(url)
    writer.write(CHUNKED + begin)
    sent_bytes = 0
    with contextlib.suppress(ConnectionError):
        while sent_bytes < most_bytes:
            writer.write(part)
            sent_bytes += len(part)
            await writer.drain()
            await asyncio.sleep(0.005)
    writer.close()
    assert sent_bytes < most_bytes, "all of it was taken"
    status, body = await answer_from(reader)
    assert status is None or json.loads(body)["code"] in {"HEADERS_TOO_LARGE", "MALFORMED_REQUEST"}


async def test_a_long_connection_of_short_requests_is_not_cut_off(url: str):
    reader, writer = await connected(url)
    for _ in range(100):
        writer.write(b"GET /version HTTP/1.1\r\nhost: x\r\nx: %b\r\n\r\n" % (b"a" * 5_000))
        assert (await answer_from(reader))[0] == 200
    writer.close()
