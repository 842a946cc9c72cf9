"""The door of the web UI: its own names pass, every other one is turned away, and nothing slips in behind a request that may."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.loopback import loopback_only
from tests.patience import GIVE_UP_S
from workers.embedded.ports import LOOPBACK, free_port
from workers.embedded.temporal import TemporalServer
from workers.embedded.ui_door import HeadRefused, UiDoor, hidden_address, own_names, passed_on

PORT = 8233
NAMES = own_names(PORT, "https://temporal.example")
API = "/api/v1/namespaces/default"


def head(*fields: str, request: str = "GET / HTTP/1.1") -> bytes:
    return "\r\n".join([request, *fields, "", ""]).encode()


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8233", "localhost:8233", "LOCALHOST:8233", "[::1]:8233", "temporal.example"]
)
def test_its_own_names_pass_one_request_per_connection(host: str) -> None:
    passed = passed_on(head(f"Host: {host}", "Connection: keep-alive, Upgrade", "Upgrade: x", "Accept: */*"), NAMES)
    assert passed == head(f"Host: {host}", "Accept: */*", "Connection: close")


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("Host: evil.example:8233",),
        ("Host: 127.0.0.1",),
        ("Host: 127.0.0.1:8234",),
        ("Host: 127.0.0.1:8233.evil.example",),
        ("Host: evil.example", "Host: 127.0.0.1:8233"),
        ("Host: 127.0.0.1:8233", "Host: 127.0.0.1:8233"),
        ("X: y", "Hos: 127.0.0.1:8233"),
    ],
)
def test_every_other_name_is_turned_away(fields: tuple[str, ...]) -> None:
    with pytest.raises(HeadRefused, match="421"):
        passed_on(head(*fields), NAMES)


@pytest.mark.parametrize(
    "given_head",
    [
        head("Host: 127.0.0.1:8233", request="GET http://evil.example/ HTTP/1.1"),
        head("Host: 127.0.0.1:8233", request="GET / HTTP/2.0"),
        head("Host: 127.0.0.1:8233", request="GET /"),
        head("Host : 127.0.0.1:8233"),
        head("Host: 127.0.0.1:8233", " folded"),
        head("Host: 127.0.0.1:8233\nHost: evil.example"),
        head("no colon", "Host: 127.0.0.1:8233"),
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_refused(given_head: bytes) -> None:
    with pytest.raises(HeadRefused, match="400"):
        passed_on(given_head, NAMES)


@given(st.binary(max_size=200))
def test_whatever_comes_is_refused_or_has_one_host_of_ours(junk: bytes) -> None:
    try:
        passed = passed_on(junk + b"\r\n\r\n", NAMES)
    except HeadRefused:
        return
    hosts = [line for line in passed.split(b"\r\n") if line.lower().startswith(b"host:")]
    assert len(hosts) == 1


@asynccontextmanager
async def opened(behind: tuple[str, int]) -> AsyncIterator[int]:
    port = free_port()
    door = UiDoor(port, behind, own_names(port, None))
    await door.open()
    try:
        yield port
    finally:
        await door.close()


async def answer(port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(sent)
    got = await asyncio.wait_for(reader.read(), GIVE_UP_S)
    writer.close()
    return got


async def test_the_ui_is_reached_by_its_name_alone(temporal_dev: TemporalServer) -> None:
    async with opened((temporal_dev.ui_host, temporal_dev.ui_port)) as port:
        ours = head(f"Host: 127.0.0.1:{port}", request=f"GET {API} HTTP/1.1")
        evil = head(f"Host: evil.example:{port}", request=f"GET {API} HTTP/1.1")
        assert (await answer(port, ours)).startswith(b"HTTP/1.1 200")
        assert (await answer(port, evil)).startswith(b"HTTP/1.1 421")
        both = await answer(port, ours + evil)
        assert both.count(b"HTTP/1.1 ") == 1, "the second request of a connection was looked at by nobody"
        with suppress(ConnectionResetError):  # a head without end is cut off, which may look so
            assert (await answer(port, b"x" * 200_000)) == b""


async def test_a_body_passes_whole_and_so_does_the_answer() -> None:
    body = bytes(range(256)) * 4_000

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + await reader.readexactly(len(body)))
        await writer.drain()
        writer.close()

    behind = free_port()
    async with await asyncio.start_server(echo, LOOPBACK, behind), opened((LOOPBACK, behind)) as port:
        fields = (f"Host: localhost:{port}", f"Content-Length: {len(body)}")
        got = await answer(port, head(*fields, request="POST / HTTP/1.1") + body)
    assert got.partition(b"\r\n\r\n")[2] == body


async def test_while_the_ui_is_away_the_door_says_so() -> None:
    async with opened((LOOPBACK, free_port())) as port:
        assert (await answer(port, head(f"Host: 127.0.0.1:{port}"))).startswith(b"HTTP/1.1 502")


def test_the_hidden_address_is_of_this_machine() -> None:
    with loopback_only():
        assert {hidden_address().partition(".")[0] for _ in range(20)} == {"127"}
