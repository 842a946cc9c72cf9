"""Connections that are held and not used: each wait for a caller has an end, and nobody may hold too many."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.api.wire import answer_from, end_of
from tests.factories.api_process import api_process
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase

HEAD_S = BODY_S = 0.5
MOST = 20
REQUEST = b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n"
LOGIN = b"POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
INVALID = "Invalid HTTP request received."

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
def process(module_database: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    settings = {
        "head_timeout_s": str(HEAD_S), "body_timeout_s": str(BODY_S), "connections_per_address": str(MOST),
        "trusted_proxies": "127.0.0.9",
    }  # fmt: skip
    with api_process(module_database, tmp_path_factory.mktemp("process"), **settings) as made:
        yield made


@pytest.fixture
def port(process: tuple[str, Path]) -> int:
    port = httpx.URL(process[0]).port
    assert port is not None
    return port


@asynccontextmanager
async def connected(port: int, source: str = "127.0.0.1") -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.close()


async def drip(writer: asyncio.StreamWriter, pieces: list[bytes]) -> None:
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(HEAD_S / 4)


def status_and_code(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return int(head.split()[1]), json.loads(body)["code"]


LATE = {
    "half a line": b"GET /ver",
    "half a header": b"GET /version HTTP/1.1\r\nhost: x\r\nx-long: a",
    "no empty line": b"GET /version HTTP/1.1\r\nhost: x\r\n",
    "an empty line before": b"\r\n",
}


@pytest.mark.parametrize("what", LATE)
async def test_a_head_that_does_not_come_is_408(port: int, what: str):
    async with connected(port) as (reader, writer):
        writer.write(LATE[what])
        assert status_and_code(await end_of(reader)) == (408, "REQUEST_TIMEOUT")


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for_longer(port: int):
    async with connected(port) as (reader, writer):
        dripping = asyncio.create_task(drip(writer, [bytes([byte]) for byte in REQUEST[:-1]]))
        assert status_and_code(await end_of(reader)) == (408, "REQUEST_TIMEOUT")
        assert not dripping.done(), "it was waited for"
        dripping.cancel()


async def test_who_says_nothing_is_hung_up_on(port: int):
    async with connected(port) as (reader, _writer):
        assert await end_of(reader) == b""


async def test_between_two_requests_a_connection_may_rest_longer_than_a_head_may_take(port: int):
    async with connected(port) as (reader, writer):
        for _ in range(2):
            writer.write(REQUEST)
            assert (await answer_from(reader))[0] == 200
            await asyncio.sleep(HEAD_S * 2)


@pytest.mark.parametrize("begin", [b"G", b"\r\n"])
async def test_the_head_of_a_second_request_has_to_come_too(port: int, begin: bytes):
    async with connected(port) as (reader, writer):
        writer.write(REQUEST)
        assert (await answer_from(reader))[0] == 200
        writer.write(begin)
        assert status_and_code(await end_of(reader)) == (408, "REQUEST_TIMEOUT")


async def test_the_head_of_a_request_that_came_with_another_has_to_come_too(port: int):
    async with connected(port) as (reader, writer):
        writer.write(REQUEST + b"GET /ver")
        assert (await answer_from(reader))[0] == 200
        assert status_and_code(await end_of(reader)) == (408, "REQUEST_TIMEOUT")


@pytest.mark.parametrize(
    "part",
    [b"content-length: 100\r\n\r\n", b"content-length: 100\r\n\r\n{", b"transfer-encoding: chunked\r\n\r\n5\r\n{",
     b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n", b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n"],
)  # fmt: skip
async def test_a_body_that_falls_silent_is_408(port: int, part: bytes):
    async with connected(port) as (reader, writer):
        writer.write(LOGIN + part)
        assert status_and_code(await end_of(reader)) == (408, "REQUEST_TIMEOUT")


async def test_a_body_may_take_its_time_as_long_as_it_comes(port: int):
    async with connected(port) as (reader, writer):
        body = b'{"email": "a"}'
        writer.write(LOGIN + b"content-length: %d\r\n\r\n" % len(body))
        await drip(writer, [bytes([byte]) for byte in body])
        assert (await answer_from(reader))[0] == 422


async def test_the_rest_of_a_body_that_was_answered_has_to_come_too(port: int):
    """Without another answer: it would be taken for that to the next request."""
    async with connected(port) as (reader, writer):
        writer.write(b"POST /deployments HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        assert (await answer_from(reader))[0] == 401
        assert await end_of(reader) == b""


async def test_a_body_without_end_that_nobody_asked_for_is_cut_off(port: int):
    async with connected(port) as (reader, writer):
        writer.write(b"GET /version HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        assert (await answer_from(reader))[0] == 200  # before anything that a reset could take with it
        ended = asyncio.create_task(end_of(reader))
        sent_bytes = 0
        while not ended.done() and sent_bytes < 50_000_000:
            writer.write(b"2710\r\n%b\r\n" % (b"x" * 10_000))
            sent_bytes += 10_000
            await asyncio.sleep(0.001)
        assert ended.done()
        assert await ended == b""


# -- How many


async def kept(port: int, count: int, source: str = "127.0.0.1") -> list[Streams]:
    """Connections that were used once and are kept by the server for more."""
    made = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        writer.write(REQUEST)
        assert (await answer_from(reader))[0] == 200
        made.append((reader, writer))
    return made


async def is_served(port: int, source: str = "127.0.0.1") -> bool:
    async with connected(port, source) as (reader, writer):
        writer.write(REQUEST)
        return (await answer_from(reader))[0] == 200


async def until_served(port: int) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while not await is_served(port):
            await asyncio.sleep(0.05)


async def test_one_address_holds_so_many_connections_and_no_more(port: int):
    await until_served(port)
    held = await kept(port, MOST, "127.0.0.3")
    async with connected(port, "127.0.0.3") as (reader, writer):
        writer.write(REQUEST)
        answer = await end_of(reader)
    assert status_and_code(answer) == (429, "CONNECTION_LIMIT")
    assert b"retry-after: " in answer.lower()
    assert await is_served(port, "127.0.0.4"), "who holds none is served"
    held[0][0].feed_eof()
    for _, writer in held:
        writer.close()
    async with asyncio.timeout(GIVE_UP_S):
        while not await is_served(port, "127.0.0.3"):
            await asyncio.sleep(0.05)


async def test_a_trusted_proxy_holds_those_of_many(port: int):
    held = await kept(port, MOST * 2, "127.0.0.9")
    for _, writer in held:
        writer.close()


async def test_a_flood_of_silent_connections_leaves_others_served(port: int):
    """More than the soft limit of files that most systems begin with."""
    flood = [socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.5", 0)) for _ in range(1_100)]
    try:
        assert await is_served(port, "127.0.0.6")
    finally:
        for each in flood:
            each.close()


async def test_without_a_file_to_spare_the_server_goes_on(module_database: TestDatabase, tmp_path: Path):
    with api_process(module_database, tmp_path, connections_per_address="1000") as (url, _log):
        port = httpx.URL(url).port
        assert port is not None
        server = _process_on(port)
        files = server.num_fds() + 10
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (files, files))
        flood = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
        busy_s, spinning_s = await _processor_time_beside_a_spinner(server)
        for each in flood:
            each.close()
        async with asyncio.timeout(GIVE_UP_S):
            while not await is_served(port):
                await asyncio.sleep(0.05)
        assert busy_s < spinning_s / 2, "accepting is tried again and again"


async def _processor_time_beside_a_spinner(server: psutil.Process) -> tuple[float, float]:
    """What the server used while a process that does nothing but use the processor used a second's worth of it; and that."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass")
    spinner = psutil.Process(process.pid)
    before_s = sum(server.cpu_times()[:2])
    try:
        async with asyncio.timeout(GIVE_UP_S):
            while (spinning_s := sum(spinner.cpu_times()[:2])) < 1.0:
                await asyncio.sleep(0.05)
        return sum(server.cpu_times()[:2]) - before_s, spinning_s
    finally:
        process.kill()
        await process.wait()


def _process_on(port: int | None) -> psutil.Process:
    [pid] = {
        each.pid
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid is not None
    }
    return psutil.Process(pid)


# -- What the log says


async def test_a_line_per_malformed_request_is_too_many(port: int, process: tuple[str, Path]):
    for _ in range(40):
        async with connected(port, "127.0.0.7") as (reader, writer):
            writer.write(b"nonsense\r\n\r\n")
            assert (await answer_from(reader))[0] == 400
    assert process[1].read_text().count(INVALID) == 10


async def test_the_api_may_open_as_many_files_as_it_is_allowed_to(port: int):
    soft, hard = resource.prlimit(_process_on(port).pid, resource.RLIMIT_NOFILE)
    assert soft == hard
