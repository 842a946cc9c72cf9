"""HTTP as bytes, for what no client library would send."""

from __future__ import annotations

import asyncio

import httpx

from tests.patience import GIVE_UP_S


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)


async def answer_from(reader: asyncio.StreamReader) -> tuple[int | None, str]:
    """Status and body; None when the connection is closed without an answer."""
    try:
        async with asyncio.timeout(GIVE_UP_S):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            lengths = [line.partition(b":")[2] for line in head.splitlines() if line.startswith(b"content-length")]
            body = await reader.readexactly(int(lengths[0])) if lengths else b""
    except (asyncio.IncompleteReadError, ConnectionError):
        return None, ""
    return int(head.split()[1]), body.decode()


async def raw(url: str, request: bytes) -> tuple[int | None, str]:
    """What comes back for these bytes."""
    reader, writer = await connected(url)
    writer.write(request)
    found = await answer_from(reader)
    writer.close()
    return found
