"""The other side of a request: its body, and whether it is still there."""

import asyncio
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from starlette.types import Receive

from models.base.errors import InvalidRequest

SESSION_HEADERS = (b"x-quarterdeck-session", b"x-inventiv-session")
"""Ours, and the one of the contract."""
LONGEST_SESSION = 256


class UnsupportedMediaType(InvalidRequest):
    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415


class CallerGone(Exception):
    """The caller closed the connection before its answer was complete."""


async def read_body(receive: Receive) -> bytes:
    """The whole body. The limit on its size is kept by whoever wraps `receive`. Raises CallerGone."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def check_json(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuse a body that says it is something else than plain JSON. One that does not say is taken for JSON."""
    for name, value in headers:
        if name == b"content-type":
            media_type = value.partition(b";")[0].strip().lower()
            if media_type != b"application/json" and not media_type.endswith(b"+json"):
                raise UnsupportedMediaType("send the body as application/json")
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise UnsupportedMediaType("send the body without a content encoding")


def header(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in headers if name == wanted), None)


def session_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The value that keeps a conversation on one instance; None if there is none that is printable ASCII of a sane length."""
    for name, value in headers:
        if name in SESSION_HEADERS and 0 < len(value) <= LONGEST_SESSION and value.isascii():
            session = value.decode()
            return session if session.isprintable() else None
    return None


class Presence(AbstractAsyncContextManager["Presence"]):
    """While entered, the caller's disconnect cancels what this task is waiting for, and leaves as CallerGone.

    A cancellation from elsewhere (the server stopping) stays a cancellation.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_gone = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("presence is watched from within a task")
        self._task = task
        self._watch = asyncio.ensure_future(self._disconnected())
        self._watch.add_done_callback(self._leave)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.remove_done_callback(self._leave)
        if not self._watch.done():
            self._watch.cancel()
        if self.is_gone and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise CallerGone from error

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue

    def _leave(self, watch: asyncio.Future[None]) -> None:
        if not watch.cancelled() and watch.exception() is None:
            self.is_gone = True
            self._task.cancel()
