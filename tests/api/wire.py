"""HTTP as bytes, for what no client library would send."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx

from tests.patience import GIVE_UP_S


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)


async def answer_from(reader: asyncio.StreamReader) -> tuple[int | None, str]:
    """Status and body; None when the connection is closed without an answer."""
    try:
        async with asyncio.timeout(GIVE_UP_S):
            head = (await _although_reset(reader, lambda: reader.readuntil(b"\r\n\r\n"))).lower()
            lengths = [line.partition(b":")[2] for line in head.splitlines() if line.startswith(b"content-length")]
            length = int(lengths[0]) if lengths else 0
            body = await _although_reset(reader, lambda: reader.readexactly(length))
    except asyncio.IncompleteReadError:
        return None, ""
    return int(head.split()[1]), body.decode()


async def end_of(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server hangs up."""
    got = b""
    async with asyncio.timeout(GIVE_UP_S):
        while piece := await _although_reset(reader, lambda: reader.read(65_536)):
            got += piece
    return got


async def _although_reset(reader: asyncio.StreamReader, read: Callable[[], Awaitable[bytes]]) -> bytes:
    """A reader gives nothing out once its connection was reset, not even what had arrived by then: this does."""
    try:
        return await read()
    except ConnectionError:
        reader._exception = None  # type: ignore[attr-defined]  # nothing public shows what it holds
        reader.feed_eof()
        return await read()


async def raw(url: str, request: bytes) -> tuple[int | None, str]:
    """What comes back for these bytes."""
    reader, writer = await connected(url)
    writer.write(request)
    found = await answer_from(reader)
    writer.close()
    return found
