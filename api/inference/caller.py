"""The other side of a request: its body, and whether it is still there."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from starlette.types import Receive

from api.http.errors import Failure, body_too_large

SESSION_HEADERS = (b"x-quarterdeck-session", b"x-inventiv-session")
"""Ours, and the one of the contract."""
LONGEST_SESSION = 256

JSON = b"application/json"

UNWATCHED_S = 0.1
"""An answer that comes sooner is worth no watch, which takes a task of its own: a tenth of the work for a short request."""


class Refused(Exception):
    """A request that means nothing here, as the failure it is answered with."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class CallerGone(Exception):
    """The caller closed the connection before its answer was complete."""


Headers = Mapping[bytes, bytes]
"""A request's headers by name in lower case; of a repeated one the last."""


async def read_body(receive: Receive, headers: Headers, limit_bytes: int) -> bytes:
    """The whole body. Raises PayloadTooLarge before it has been read, where its length is announced; CallerGone."""
    announced = headers.get(b"content-length", b"")
    size = int(announced[:20]) if announced.isdigit() else 0
    parts: list[bytes] = []
    more = True
    while more and size <= limit_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
        size = sum(map(len, parts))
    if size > limit_bytes:
        raise body_too_large(limit_bytes)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def check_json(headers: Headers) -> None:
    """Raises Refused for a body that says it is something else than plain JSON. One that does not say is taken for JSON."""
    content_type = headers.get(b"content-type", JSON)
    if content_type != JSON:
        media_type = content_type.partition(b";")[0].strip().lower()
        if media_type != JSON and not media_type.endswith(b"+json"):
            raise Refused(Failure(415, "UNSUPPORTED_MEDIA_TYPE", "send the body as application/json"))
    if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
        raise Refused(Failure(415, "UNSUPPORTED_MEDIA_TYPE", "send the body without a content encoding"))


def session_of(headers: Headers) -> str | None:
    """The value that keeps a conversation on one instance; None if there is none that is printable ASCII of a sane length."""
    for name in SESSION_HEADERS:
        value = headers.get(name, b"")
        if 0 < len(value) <= LONGEST_SESSION and value.isascii() and (session := value.decode()).isprintable():
            return session
    return None


class Presence(AbstractContextManager["Presence"]):
    """While entered, the caller's disconnect cancels what this task is waiting for, and leaves as CallerGone.

    A cancellation from elsewhere (the server stopping) stays a cancellation.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None
        self.is_gone = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("presence is watched from within a task")
        self._task = task
        self._timer = asyncio.get_running_loop().call_later(UNWATCHED_S, self._begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watch is not None:
            self._watch.remove_done_callback(self._leave)
            self._watch.cancel()
        if self.is_gone and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise CallerGone from error

    def _begin(self) -> None:
        self._watch = asyncio.create_task(self._disconnected())
        self._watch.add_done_callback(self._leave)

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue

    def _leave(self, watch: asyncio.Task[None]) -> None:
        if not watch.cancelled() and watch.exception() is None:
            self.is_gone = True
            self._task.cancel()
