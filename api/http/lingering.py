"""The last answer on a connection whose caller is still sending."""

import asyncio
import contextlib
import time

from starlette.types import Message, Receive, Scope, Send

from models.base.errors import PayloadTooLarge

LINGER_S = 1.0
"""How long a refused caller is listened to without heed: closing while it still sends would reset the connection, and the answer
would be lost with it (RFC 9112, section 9.6)."""
PASSED_OVER_BYTES = 65_536
"""The longest announced body that the server reads past after an answer, to keep the connection."""


class BodyWatch:
    """Stands between a request and its application, and notes whether the whole body has been read.

    An error answered before that is the last answer of its connection, unless the rest is short: nobody reads on without end for
    somebody who was refused.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        length, self._is_open_ended, self._is_closing = b"", False, scope.get("http_version") == "1.0"
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                self._is_open_ended = True
            elif name == b"connection":
                self._is_closing = self._is_closing or b"close" in value.lower()
            elif name == b"expect":  # nobody can tell whether the body still comes after another answer than 100
                self._is_closing = True
        self._length = int(length[:20]) if length.isdigit() else 0
        self.is_read = not (self._is_open_ended or self._length)

    async def receive(self) -> Message:
        message = await self._receive()
        self.is_read = self.is_read or not message.get("more_body", False)
        return message

    def answering(self, status: int, send: Send) -> Send:
        """A `send` for an error: it waits for the caller to stop sending where the connection cannot be kept."""
        is_kept = not (self._is_open_ended or self._is_closing) and self._length <= PASSED_OVER_BYTES
        if self.is_read or (is_kept and status != PayloadTooLarge.status):
            return send
        return last_answer(self._receive, send)


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
