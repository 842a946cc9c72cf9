"""Sockets, as any family makes them: who may open one, what comes over it, how it ends, and what nobody can do to it."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, Depends
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Opcode

from api.deps import State
from api.http import following as following_module
from api.http import socket_edge, socket_protocol, sockets
from api.http.protocol import HttpProtocol
from api.http.socket_protocol import SLICE_BYTES, SocketProtocol
from api.http.sockets import Opened
from api.security import socket_sign_in
from api.security.permissions import AnyPrincipal, require
from models.domain.identity.principal import Principal
from models.domain.permissions.spine import SpinePermission
from models.repositories import events, operations
from models.settings import Settings
from tests.api.conftest import PASSWORD, People, Person, Served, served
from tests.api.test_events import append, until
from tests.api.wire import answer_from, connected, end_of
from tests.factories.seeded import lonely_settings
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase

ROUTER = APIRouter(prefix="/sockets")
Reader = Annotated[Principal, Depends(require(SpinePermission.ACTIVITY_READ))]

HELD = asyncio.Event()
"""Set when the handler that does nothing has been ended."""
KNOCKED, GATE = asyncio.Event(), asyncio.Event()
"""Somebody is before the door of the handler that accepts late; it may."""


@ROUTER.websocket("/events")
async def follow_all(reader: Reader, socket: Opened) -> None:
    await socket.follow(events.organization_stream(reader.organization_id))


@ROUTER.websocket("/operations/{operation_id}")
async def follow_one(operation_id: UUID, reader: Reader, state: State, socket: Opened) -> None:
    async with state.database.tenant(reader.organization_id, reader.user_id) as session:
        await operations.get(session, operation_id)
    await socket.follow(events.operation_stream(operation_id), from_start=True)


@ROUTER.websocket("/echo")
async def echo(reader: AnyPrincipal, socket: Opened) -> None:
    while (message := await socket.receive())["type"] != "enough":
        await socket.send("echo", {"of": message["type"], "user": str(reader.user_id)})


async def gate() -> None:
    KNOCKED.set()
    await GATE.wait()


@ROUTER.websocket("/late", dependencies=[Depends(gate)])
async def late(reader: AnyPrincipal, socket: Opened) -> None:
    await echo(reader, socket)


@ROUTER.websocket("/broken")
async def broken(reader: AnyPrincipal, socket: Opened) -> None:
    raise RuntimeError(f"the secret of {reader.user_id}")


@ROUTER.websocket("/idle")
async def idle(_reader: AnyPrincipal, _socket: Opened) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        HELD.set()


@pytest.fixture(scope="module")
def people(module_database: TestDatabase) -> Iterator[People]:
    people = People(module_database)
    yield people
    people.close()


@pytest.fixture(scope="module")
def api_settings(module_database: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return lonely_settings(module_database, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
async def server(api_settings: Settings) -> AsyncIterator[Served]:
    async with served(api_settings, sockets=[ROUTER]) as running:
        yield running


class Peer:
    """The other end, bounded in time."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.last: dict[str, Any] = {}

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(GIVE_UP_S):
            message: dict[str, Any] = json.loads(await self.connection.recv())
        return message

    async def say(self, kind: str, **more: object) -> None:
        await self.connection.send(json.dumps({"type": kind, **more}))

    async def closed(self) -> tuple[int, str]:
        """Code and reason; what else was sent before is passed over."""
        end = await self.everything()
        assert end.rcvd is not None, "closed without a close frame"
        return end.rcvd.code, end.rcvd.reason

    async def everything(self) -> ConnectionClosed:
        """Reads to the end."""
        try:
            while True:
                self.last = await self.next()
        except ConnectionClosed as end:
            return end


@asynccontextmanager
async def peer(server: Served, path: str, person: Person | None = None, **options: Any) -> AsyncIterator[Peer]:
    """`person` with the API key as a header. `options` are those of the client library."""
    url = f"{server.url.replace('http', 'ws')}{path}"
    headers = {**(person.bearer if person else {}), **options.pop("headers", {})}
    async with connect(url, additional_headers=headers, proxy=None, close_timeout=1, **options) as connection:
        yield Peer(connection)


async def refused(
    server: Served, path: str, person: Person | None = None, **options: Any
) -> tuple[int, dict[str, Any]]:
    """What the handshake is answered with."""
    with pytest.raises(InvalidStatus) as found:
        async with peer(server, path, person, **options):
            pass
    response = found.value.response
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"]
    return response.status_code, json.loads(response.body)


async def ended(server: Served, path: str, person: Person | None = None, **options: Any) -> tuple[int, str]:
    async with peer(server, path, person, **options) as one:
        return await one.closed()


# -- Who


async def test_a_key_in_a_header_opens_one(server: Served, people: People):
    person = people.person()
    async with peer(server, "/sockets/echo", person) as one:
        assert one.connection.response is not None
        assert one.connection.response.headers["x-request-id"]
        await one.say("hello")
        assert await one.next() == {"type": "echo", "data": {"of": "hello", "user": str(person.user_id)}}
        await one.say("enough")
        assert await one.closed() == (1000, "")


async def test_a_subprotocol_carries_the_token_and_does_not_come_back(server: Served, people: People):
    person = people.person()
    async with peer(server, "/sockets/echo", subprotocols=["quarterdeck", f"bearer.{person.api_key}"]) as one:
        assert one.connection.subprotocol == "quarterdeck"
        assert one.connection.response is not None
        assert person.api_key not in str(one.connection.response.headers)
        await one.say("hello")
        assert (await one.next())["data"]["user"] == str(person.user_id)


async def test_the_first_message_may_carry_it(server: Served, people: People):
    person = people.person()
    async with peer(server, "/sockets/echo") as one:
        await one.say("auth", token=person.api_key)
        await one.say("hello")
        assert (await one.next())["data"]["user"] == str(person.user_id)


@pytest.mark.parametrize("first", ['{"type": "hello"}', "[]", "no JSON", '{"type": "auth", "token": 1}', b"\x00"])
async def test_whoever_begins_otherwise_is_4401(server: Served, first: str | bytes):
    async with peer(server, "/sockets/echo") as one:
        await one.connection.send(first)
        told = await one.next()
        assert (told["type"], told["data"]["code"]) == ("error", "LOGIN_REQUIRED")
        assert await one.closed() == (4401, "LOGIN_REQUIRED")


async def test_whoever_says_nothing_is_4401_after_a_while(server: Served, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket_sign_in, "FIRST_MESSAGE_S", 0.1)
    assert await ended(server, "/sockets/events") == (4401, "LOGIN_REQUIRED")


async def test_a_token_that_is_no_good_is_4401(server: Served):
    bad = {"authorization": "Bearer sk-qd-nobody"}
    assert await ended(server, "/sockets/events", headers=bad) == (4401, "INVALID_TOKEN")
    assert await ended(server, "/sockets/events", subprotocols=["quarterdeck", "bearer.x"]) == (4401, "INVALID_TOKEN")


async def test_what_the_scopes_do_not_include_is_4003(server: Served, people: People):
    person = people.person(scopes=["inference"])
    assert await ended(server, "/sockets/events", person) == (4003, "PERMISSION_DENIED")


async def test_what_is_no_id_is_1008(server: Served, people: People):
    assert await ended(server, "/sockets/operations/x", people.person()) == (1008, "INVALID_REQUEST")


# -- Pages


async def cookie_of(server: Served, person: Person) -> dict[str, str]:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{server.url}/auth/login", json={"email": person.email, "password": PASSWORD})
        assert answer.status_code == 200
        return {"cookie": f"quarterdeck_session={answer.cookies['quarterdeck_session']}"}


async def test_a_page_of_ours_opens_one_with_its_cookie_and_a_foreign_one_none(server: Served, people: People):
    person = people.person()
    cookie = await cookie_of(server, person)
    async with peer(server, "/sockets/echo", headers=cookie, origin=server.url) as one:
        await one.say("hello")
        assert (await one.next())["data"]["user"] == str(person.user_id)
    for origin in (
        "https://evil.example",
        "null",
        f"{server.url}.evil.example",
        server.url.replace("127.0.0.1", "localhost"),
    ):
        for headers in (cookie, person.bearer, {}):
            status, problem = await refused(server, "/sockets/echo", headers=headers, origin=origin)
            assert (status, problem["code"]) == (403, "CROSS_ORIGIN"), (origin, headers)
    says_so = {**cookie, "sec-fetch-site": "cross-site"}
    assert (await refused(server, "/sockets/echo", headers=says_so))[0] == 403


async def test_a_page_of_a_listed_origin_opens_one(api_settings: Settings, people: People):
    person = people.person()
    settings = api_settings.model_copy(update={"cors_origins": "https://console.example, http://localhost:3000"})
    async with served(settings, sockets=[ROUTER]) as server:
        headers = {**await cookie_of(server, person), "sec-fetch-site": "cross-site"}
        async with peer(server, "/sockets/echo", headers=headers, origin="https://console.example") as one:
            await one.say("hello")
            assert (await one.next())["data"]["user"] == str(person.user_id)
        assert (await refused(server, "/sockets/echo", headers=headers, origin="https://evil.example"))[0] == 403


# -- Queries


def said_by_the_server(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.name != "websockets.client")


@pytest.mark.parametrize("name", ["token", "api_key", "access_token", "afterwards"])
async def test_a_token_in_the_query_is_refused_and_logged_nowhere(
    server: Served, people: People, caplog: pytest.LogCaptureFixture, name: str
):
    caplog.set_level(logging.DEBUG)
    person = people.person()
    status, problem = await refused(server, f"/sockets/events?{name}={person.api_key}")
    assert (status, problem["code"]) == (422, "UNKNOWN_FILTER")
    assert person.api_key not in said_by_the_server(caplog) + json.dumps(problem)


async def test_what_travels_is_logged_nowhere(server: Served, people: People, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    person = people.person()
    async with peer(server, "/sockets/events?after=0", subprotocols=["quarterdeck", f"bearer.{person.api_key}"]) as one:
        await one.next()
        append(people, person.organization_id, ids=["private-words"])
        await one.next()
    assert person.api_key not in said_by_the_server(caplog)
    assert "private-words" not in said_by_the_server(caplog)


# -- Streams


async def test_events_come_in_order_and_again_after_a_number(server: Served, people: People):
    person = people.person()
    old = append(people, person.organization_id)
    async with peer(server, "/sockets/events", person) as one:
        assert await one.next() == {"type": "hello", "seq": old, "data": {"ok": True}}
        new = [append(people, person.organization_id, ids=[str(number)]) for number in range(3)]
        seen = [await one.next() for _ in new]
    assert [(each["type"], each["seq"], each["data"]["ids"]) for each in seen] == [
        ("instance.updated", seq, [str(number)]) for number, seq in enumerate(new)
    ]
    for path, headers in ((f"/sockets/events?after={new[0]}", {}), ("/sockets/events", {"last-event-id": str(new[0])})):
        async with peer(server, path, person, headers=headers) as again:
            await again.next()
            assert [(await again.next())["seq"] for _ in new[1:]] == new[1:]
    async with peer(server, "/sockets/events?after=999", person) as lost:
        assert [(await lost.next())["type"] for _ in range(2)] == ["hello", "resync"]


async def test_no_organization_sees_anothers_events(server: Served, people: People):
    person, other = people.person(), people.person()
    async with peer(server, "/sockets/events", person) as one:
        await one.next()
        append(people, other.organization_id, ids=["theirs"])
        append(people, person.organization_id, ids=["mine"])
        assert (await one.next())["data"]["ids"] == ["mine"]


async def test_a_revoked_key_closes_its_sockets_whatever_they_do(
    server: Served, people: People, monkeypatch: pytest.MonkeyPatch
):
    """Nothing rings for them and nothing is asked: what follows would look in an hour, the other never."""
    defaults = following_module.followed.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "keepalive_s", 3600.0)
    person = people.person()
    async with peer(server, "/sockets/events", person) as one, peer(server, "/sockets/idle", person) as other:
        await one.next()
        await other.say("hello")
        people.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %s", person.api_key_id)
        assert await one.closed() == (4401, "INVALID_TOKEN")
        assert await other.closed() == (4401, "INVALID_TOKEN")
    assert server.state.identities._watch._watched == {}


async def test_credentials_that_end_by_the_clock_close_theirs(server: Served, people: People):
    person = people.person()
    people.execute("UPDATE api_keys SET expires_at = now() + interval '1 s' WHERE id = %s", person.api_key_id)
    async with peer(server, "/sockets/idle", person) as one:
        assert await one.closed() == (4401, "INVALID_TOKEN")


async def test_a_server_that_stops_says_so(api_settings: Settings, people: People):
    person = people.person()
    async with (
        served(api_settings, sockets=[ROUTER]) as server,
        peer(server, "/sockets/events", person) as one,
        peer(server, "/sockets/idle", person) as other,
    ):
        await one.next()
        await other.say("hello")
        server.server.should_exit = True
        assert (await one.closed())[0] == 1012
        assert (await other.closed())[0] == 1012


async def test_a_follower_that_reads_nothing_is_closed_with_the_number_to_resume_after(
    server: Served, people: People, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sockets, "SEND_TIMEOUT_S", 0.5)
    person = people.person()
    people.execute(
        "SELECT append_event(%s, %s, 'instance.updated', %s::jsonb) FROM generate_series(1, 2000)",
        f"organization/{person.organization_id}", person.organization_id, json.dumps({"ids": ["x" * 20_000]}),
    )  # fmt: skip
    async with peer(server, "/sockets/events?after=0", person, max_queue=1) as one:
        bells = server.state.event_feed._bells
        await until(lambda: len(bells) == 1)
        await until(lambda: not bells)
        code, reason = await one.closed()
        assert (code, reason) == (4408, f"TOO_SLOW after={one.last['seq']}")
        assert 0 < one.last["seq"] < 2000


async def test_one_principal_holds_so_many_and_no_more(api_settings: Settings, people: People):
    person, other = people.person(), people.person()
    settings = api_settings.model_copy(update={"streams_per_principal": 2})
    async with served(settings, sockets=[ROUTER]) as server:
        async with peer(server, "/sockets/events", person) as first, peer(server, "/sockets/events", person) as second:
            await first.next()
            await second.next()
            assert await ended(server, "/sockets/events", person) == (4429, "STREAM_LIMIT")
            async with peer(server, "/sockets/events", other) as theirs:
                await theirs.next()
        await until(lambda: not server.state.stream_slots._taken)


async def test_a_peer_that_goes_ends_its_handler(server: Served, people: People):
    HELD.clear()
    person = people.person()
    async with peer(server, "/sockets/idle", person) as one:
        await one.say("hello")
        await until(lambda: bool(server.state.stream_slots._taken))
        one.connection.transport.abort()
    async with asyncio.timeout(GIVE_UP_S):
        await HELD.wait()
    await until(lambda: not server.state.stream_slots._taken)


# -- What goes wrong


async def test_a_handler_that_breaks_is_1011_and_its_words_stay_inside(
    server: Served, people: People, caplog: pytest.LogCaptureFixture
):
    person = people.person()
    async with peer(server, "/sockets/broken", person) as one:
        told = await one.next()
        assert told["data"]["code"] == "INTERNAL"
        assert await one.closed() == (1011, "INTERNAL")
    assert "unexpected RuntimeError while answering WEBSOCKET" in caplog.text
    assert str(person.user_id) not in caplog.text


@pytest.mark.parametrize("text", ["[]", "null", "{", '{"a": ' * 70 + "1" + "}" * 70])
async def test_a_message_that_is_no_object_is_1008(server: Served, people: People, text: str):
    async with peer(server, "/sockets/echo", people.person()) as one:
        await one.connection.send(text)
        assert (await one.closed())[0] == 1008


async def test_more_messages_than_anybody_works_on_are_1008(
    server: Served, people: People, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(socket_edge, "INBOX_FULL_S", 0.2)
    async with peer(server, "/sockets/idle", people.person()) as one:
        for _ in range(socket_edge.INBOX_MESSAGES + 1):
            await one.say("hello")
        assert await one.closed() == (4429, "INBOX_FULL")


# -- Attacks, byte by byte


async def without_end(writer: asyncio.StreamWriter, piece: bytes) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            writer.write(piece)
            await writer.drain()


def handshake(
    path: str, person: Person | None = None, *, more: str = "", method: str = "GET", version: str = "1.1"
) -> bytes:
    key = f"x-api-key: {person.api_key}\r\n" if person else ""
    return (
        f"{method} {path} HTTP/{version}\r\nhost: x\r\n{key}connection: Upgrade\r\nupgrade: websocket\r\n"
        f"sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n{more}\r\n"
    ).encode()


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False, announced: int | None = None
) -> bytes:
    """Masked with zeros; `announced` says a length that does not come."""
    length = len(payload) if announced is None else announced
    first = bytes([(0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode])
    size = (
        bytes([0x80 | length])
        if length < 126
        else struct.pack("!BH", 0xFE, length)
        if length < 65_536
        else struct.pack("!BQ", 0xFF, length)
    )
    return first + size + b"\0\0\0\0" + payload


async def opened(
    server: Served, person: Person, path: str = "/sockets/echo"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await connected(server.url)
    writer.write(handshake(path, person, more="sec-websocket-extensions: permessage-deflate\r\n"))
    async with asyncio.timeout(GIVE_UP_S):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"permessage-deflate" not in head.lower()
    return reader, writer


def code_in(got: bytes) -> int:
    """Of the close frame that the server ended with."""
    at = got.rindex(bytes([0x80 | Opcode.CLOSE]))
    return int.from_bytes(got[at + 2 : at + 4], "big")


FLOODS = {
    "100 MB announced": (frame(Opcode.TEXT, b"x", announced=100_000_000), 1009),
    "a longer one in two": (frame(Opcode.TEXT, b"x" * 60_000, fin=False) + frame(Opcode.CONT, b"x" * 60_000), 1009),
    "fragments of nothing": (frame(Opcode.TEXT, b"x", fin=False) + frame(Opcode.CONT, fin=False) * 2_000, 1009),
    "compressed": (frame(Opcode.TEXT, b"x" * 100, rsv1=True), 1002),
    "not UTF-8": (frame(Opcode.TEXT, b"\xff\xfe"), 1007),
    "no mask": (b"\x81\x01x", 1002),
    "no such opcode": (frame(0x3, b"x"), 1002),
    "a fragmented ping": (frame(Opcode.PING, b"x", fin=False), 1002),
    "a close of one byte": (frame(Opcode.CLOSE, b"x"), 1002),
}


@pytest.mark.parametrize(("sent", "code"), FLOODS.values(), ids=FLOODS)
async def test_what_is_beyond_the_protocol_ends_the_socket(
    server: Served, people: People, caplog: pytest.LogCaptureFixture, sent: bytes, code: int
):
    reader, writer = await opened(server, people.person())
    writer.write(sent)
    assert code_in(await end_of(reader)) == code
    writer.close()
    await until(lambda: not server.state.stream_slots._taken)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_peer_that_pings_and_reads_nothing_is_cut_off(
    server: Served, people: People, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(socket_protocol, "UNREAD_LIMIT_BYTES", 65_536)
    monkeypatch.setattr(socket_protocol, "PING_INTERVAL_S", 3600.0)  # which would find it out in the end
    _, writer = await opened(server, people.person())
    pings = frame(Opcode.PING, b"x" * 125) * 1_000
    with pytest.raises(ConnectionError):
        await without_end(writer, pings)
    writer.close()


@pytest.mark.parametrize("sent", [frame(Opcode.TEXT) * 20_000, frame(Opcode.PING) * 20_000 + frame(Opcode.CLOSE)])
async def test_nobody_waits_for_all_the_frames_of_one_read_or_of_many_sockets(
    server: Served, people: People, monkeypatch: pytest.MonkeyPatch, sent: bytes
):
    frames_of_turns, queued, turns, handle = Counter[int](), [0], 0, SocketProtocol.handle_events

    def counted(protocol: SocketProtocol) -> None:
        frames_of_turns[turns] += len(protocol.conn.events)
        handle(protocol)
        queued.append(protocol.queue.qsize())

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    person = people.person()
    several = [await opened(server, person) for _ in range(5)]
    monkeypatch.setattr(SocketProtocol, "handle_events", counted)
    counting = asyncio.create_task(count_turns())
    for _, writer in several:
        writer.write(sent)
    await asyncio.gather(*(end_of(reader) for reader, _ in several))
    counting.cancel()
    for _, writer in several:
        writer.close()
    of_a_slice = SLICE_BYTES // len(frame(Opcode.TEXT)) + 1
    assert frames_of_turns.total() > of_a_slice
    assert max(frames_of_turns.values()) <= 2 * of_a_slice  # turns are counted at either end of one
    assert max(queued) <= of_a_slice + 1  # and the word that it is over


async def test_before_a_socket_is_accepted_nothing_sent_is_parsed_and_nothing_lost(
    server: Served, people: People, monkeypatch: pytest.MonkeyPatch
):
    KNOCKED.clear()
    GATE.clear()
    frames, handle = [0], SocketProtocol.handle_events

    def counted(protocol: SocketProtocol) -> None:
        frames[0] += len(protocol.conn.events)
        handle(protocol)

    reader, writer = await connected(server.url)
    writer.write(handshake("/sockets/late", people.person()))
    async with asyncio.timeout(GIVE_UP_S):
        await KNOCKED.wait()
        monkeypatch.setattr(SocketProtocol, "handle_events", counted)
        said = [json.dumps({"type": f"number {number}"}).encode() for number in range(1_000)]
        writer.write(b"".join(frame(Opcode.TEXT, each) for each in said))
        sockets_open = server.server.server_state.connections
        await until(lambda: any(isinstance(each, SocketProtocol) and each.read_paused for each in sockets_open))
        assert frames == [0]
        GATE.set()
        for number in range(1_000):
            assert f'"number {number}"'.encode() in await reader.readuntil(b"}}")
    writer.close()


async def test_whoever_goes_on_sending_after_the_last_word_is_cut_off(
    server: Served, people: People, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(socket_protocol, "LAST_WORDS_S", 3600.0)  # which would find it out in the end
    reader, writer = await opened(server, people.person())
    writer.write(frame(Opcode.TEXT, b'{"type": "enough"}'))
    async with asyncio.timeout(GIVE_UP_S):
        assert int.from_bytes((await reader.readexactly(4))[2:], "big") == 1000
    with pytest.raises(ConnectionError):
        await without_end(writer, frame(Opcode.TEXT) * 1_000)
    writer.close()


async def test_a_peer_that_never_takes_the_last_word_is_cut_off(
    server: Served, people: People, monkeypatch: pytest.MonkeyPatch
):
    """The close frame lies behind what it has not taken: closing alone would wait for it without end."""
    monkeypatch.setattr(socket_protocol, "PING_INTERVAL_S", 3600.0)
    monkeypatch.setattr(socket_protocol, "LAST_WORDS_S", 0.2)
    monkeypatch.setattr(sockets, "SEND_TIMEOUT_S", 0.5)
    person, counted = people.person(), HttpProtocol.connections_of_callers
    people.execute(
        "SELECT append_event(%s, %s, 'instance.updated', %s::jsonb) FROM generate_series(1, 1000)",
        f"organization/{person.organization_id}", person.organization_id, json.dumps({"ids": ["x" * 20_000]}),
    )  # fmt: skip
    await until(lambda: counted._total == 0)
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
        idle.sendall(handshake("/sockets/events?after=0", person))
        await until(lambda: counted._total == 1)
        await until(lambda: counted._total == 0)


async def test_a_half_open_socket_ends_with_the_pings(server: Served, people: People, monkeypatch: pytest.MonkeyPatch):
    for name in ("PING_INTERVAL_S", "PING_TIMEOUT_S", "LAST_WORDS_S"):
        monkeypatch.setattr(socket_protocol, name, 0.1)
    reader, writer = await opened(server, people.person(), "/sockets/idle")
    assert code_in(await end_of(reader)) == 1011  # it takes everything and answers nothing
    writer.close()
    await until(lambda: not server.state.stream_slots._taken)


async def test_sockets_count_among_the_connections_of_an_address(server: Served, people: People):
    counted = HttpProtocol.connections_of_callers
    await until(lambda: counted._total == 0)
    async with peer(server, "/sockets/idle", people.person()):
        assert counted._total == 1
    await until(lambda: counted._total == 0)


WRONG = {
    "no key": (handshake("/sockets/echo").replace(b"sec-websocket-key", b"x-key"), 400, "MALFORMED_REQUEST"),
    "another version": (handshake("/sockets/echo").replace(b": 13", b": 12"), 400, "MALFORMED_REQUEST"),
    "a long header": (handshake("/sockets/echo", more=f"x: {'x' * 9_000}\r\n"), 431, "HEADERS_TOO_LARGE"),
    "many headers": (handshake("/sockets/echo", more="x: x\r\n" * 200), 431, "HEADERS_TOO_LARGE"),
    "a long path": (handshake("/sockets/echo?after=" + "1" * 9_000), 431, "HEADERS_TOO_LARGE"),
    "with a body": (handshake("/sockets/echo", more="content-length: 4\r\n") + b"body", 400, "MALFORMED_REQUEST"),
    "with chunks": (handshake("/sockets/echo", more="transfer-encoding: chunked\r\n"), 400, "MALFORMED_REQUEST"),
    "of a request's path": (handshake("/version"), 404, "ROUTE_NOT_FOUND"),
    "of no path": (handshake("/sockets/none"), 404, "ROUTE_NOT_FOUND"),
    "of /v1": (handshake("/v1/models"), 404, None),
    "with NUL": (handshake("/sockets/echo?after=%00"), 422, "INVALID_REQUEST"),
    "with POST": (handshake("/sockets/echo", method="POST", more="content-length: 0\r\n"), 404, "ROUTE_NOT_FOUND"),
    "with HTTP/1.0": (handshake("/sockets/echo", version="1.0"), 404, "ROUTE_NOT_FOUND"),
    "no upgrade": (b"GET /sockets/echo HTTP/1.1\r\nhost: x\r\n\r\n", 404, "ROUTE_NOT_FOUND"),
}


@pytest.mark.parametrize(("sent", "status", "code"), WRONG.values(), ids=WRONG)
async def test_a_handshake_that_will_not_do_is_answered(server: Served, sent: bytes, status: int, code: str | None):
    reader, writer = await connected(server.url)
    writer.write(sent)
    found, body = await answer_from(reader)
    assert found == status, body
    assert code is None or json.loads(body)["code"] == code
    writer.close()


@pytest.mark.parametrize(
    ("name", "word"), [("a long header", "each header"), ("many headers", "128 headers"), ("a long path", "the line")]
)
async def test_a_handshake_that_is_too_large_is_told_where(server: Served, name: str, word: str):
    reader, writer = await connected(server.url)
    writer.write(WRONG[name][0])
    _, body = await answer_from(reader)
    assert word in json.loads(body)["error"]
    writer.close()


async def test_what_only_the_second_reader_of_a_head_objects_to_is_not_called_large(
    server: Served, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(HttpProtocol, "_is_alone", lambda _: True)
    reader, writer = await connected(server.url)
    writer.write(WRONG["with chunks"][0])
    status, body = await answer_from(reader)
    assert (status, json.loads(body)["code"]) == (400, "MALFORMED_REQUEST")
    assert "handshake of WebSocket (RFC 6455" in json.loads(body)["error"]
    writer.close()


async def test_another_upgrade_is_passed_over(server: Served):
    reader, writer = await connected(server.url)
    writer.write(b"GET /version HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
    assert (await answer_from(reader))[0] == 200
    writer.close()


async def test_a_handshake_behind_a_request_without_answer_gets_none(server: Served, people: People):
    """What answers the request would write into the socket."""
    reader, writer = await connected(server.url)
    slow = b"POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    writer.write(slow + handshake("/sockets/echo", people.person()))
    assert b" 101 " not in await end_of(reader)
    writer.close()
