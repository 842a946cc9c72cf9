"""The door of Temporal's web UI: it lets through what asks for the UI under one of its own names.

The UI itself answers under any name, so that a page whose name is rebound to this machine could do whatever the UI can. The door
runs in the supervisor's own process, which costs no further one. The UI behind it listens at an address that is told to nobody.
"""

import asyncio
import secrets
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from workers.embedded.errors import StartError
from workers.embedded.ports import LOOPBACK

HEAD_LIMIT_BYTES: Final = 65_536
HEAD_TIMEOUT_S: Final = 10.0
CHUNK_BYTES: Final = 65_536
OF_ONE_HOP: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"upgrade"})


class HeadRefused(Exception):
    """The request is not passed on. The message is the status line's rest."""


def own_names(port: int, public_url: str | None) -> frozenset[bytes]:
    """The values of `Host` that are the UI's: loopback at its port, and that of the URL where people find it."""
    names = {f"{host}:{port}" for host in (LOOPBACK, "localhost", "[::1]")}
    if public_url is not None:
        names.add(urlsplit(public_url).netloc.rpartition("@")[2])
    return frozenset(name.lower().encode() for name in names)


def hidden_address() -> str:
    """A loopback address for the UI itself. Linux has 16 million of them: no page guesses one with its port; others have one."""
    if not sys.platform.startswith("linux"):
        return LOOPBACK
    return f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"


def passed_on(head: bytes, names: Iterable[bytes]) -> bytes:
    """The head as the UI gets it: one request per connection, so that none goes unseen. Raises HeadRefused."""
    request, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    words = request.split(b" ")
    if len(words) != 3 or not words[1].startswith(b"/") or not words[2].startswith(b"HTTP/1."):
        raise HeadRefused("400 Bad Request")
    fields = [line.partition(b":") for line in lines]
    if any(not colon or name != name.strip() or not name or b"\n" in value for name, colon, value in fields):
        raise HeadRefused("400 Bad Request")
    hosts = [value.strip().lower() for name, _, value in fields if name.lower() == b"host"]
    if len(hosts) != 1 or hosts[0] not in names:
        raise HeadRefused("421 Misdirected Request")
    kept = [line for line, (name, _, _) in zip(lines, fields, strict=True) if name.lower() not in OF_ONE_HOP]
    return b"\r\n".join([request, *kept, b"Connection: close"]) + b"\r\n\r\n"


class UiDoor:
    """Listens at the UI's public port on loopback. Whatever a connection does, the others and the door go on."""

    def __init__(self, port: int, behind: tuple[str, int], names: frozenset[bytes]) -> None:
        self._port, self._behind, self._names = port, behind, names
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Raises StartError where the port cannot be had."""
        try:
            self._server = await asyncio.start_server(self._serve, LOOPBACK, self._port, limit=HEAD_LIMIT_BYTES)
        except OSError as error:
            raise StartError(f"the web UI of Temporal cannot listen on port {self._port}: {error.strerror}") from None

    async def close(self) -> None:
        """Ends what is under way: a page that is open must not keep `up` from stopping."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        # gone, silent or without end: there is nobody to tell
        with suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            try:
                async with asyncio.timeout(HEAD_TIMEOUT_S):
                    head = passed_on(await reader.readuntil(b"\r\n\r\n"), self._names)
                await self._pass_on(head, reader, writer)
            except HeadRefused as refusal:
                await _say(writer, str(refusal))
        self._open.discard(writer)
        writer.close()

    async def _pass_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, requests = await asyncio.open_connection(*self._behind)
        except OSError:
            await _say(writer, "502 Bad Gateway")
            return
        self._open.add(requests)
        requests.write(head)
        body = asyncio.create_task(_copy(reader, requests))
        try:
            await _copy(answers, writer)
        finally:
            body.cancel()
            await asyncio.gather(body, return_exceptions=True)
            self._open.discard(requests)
            requests.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while content := await source.read(CHUNK_BYTES):
        target.write(content)
        await target.drain()


async def _say(writer: asyncio.StreamWriter, status: str) -> None:
    fields = ("Content-Type: text/plain", f"Content-Length: {len(status) + 1}", "Connection: close")
    writer.write("\r\n".join([f"HTTP/1.1 {status}", *fields, "", f"{status}\n"]).encode())
    await writer.drain()
