"""The last answer on a connection whose caller is still sending."""

import asyncio
import contextlib
import time

from starlette.types import Message, Receive, Send

LINGER_S = 1.0
"""How long a refused caller is listened to without heed: closing while it still sends would reset the connection, and the answer
would be lost with it (RFC 9112, section 9.6)."""


def last_answer(receive: Receive, send: Send) -> Send:
    """A `send` that closes the connection after this answer, once the caller stopped sending or `LINGER_S` is over."""

    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send({**message, "headers": [*message["headers"], (b"connection", b"close")]})
        elif message.get("more_body", False):
            await send(message)
        else:
            await send({**message, "more_body": True})
            await _linger(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return closing


async def _linger(receive: Receive) -> None:
    # Beside the timeout: a caller whose next piece is always there never lets that act.
    deadline = time.monotonic() + LINGER_S
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while (await receive()).get("more_body", False) and time.monotonic() < deadline:
                continue
