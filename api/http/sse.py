"""Server-sent events (WHATWG HTML 9.2): how they are written, and sent to a client that may be slow or gone."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import Header
from fastapi.sse import format_sse_event
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from models.base.clock import rfc3339
from models.tables.activity import Event

SEND_TIMEOUT_S = 10.0
"""A client that takes no data for this long is given up; it comes back with the id of what it saw last."""

KEEPALIVE = format_sse_event(comment="keepalive")
HELLO = "hello"
RESYNC = "resync"
"""Events that were asked for have been removed with age, or never were: whoever reads this looks at everything anew."""

STREAM_HEADERS = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
"""On every stream of events: a proxy between us and the reader passes each one on at once (nginx buffers answers otherwise)."""

EVENT_STREAM = {
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
    "description": "Events without end, each with an `id` to resume after.",
}
"""For `responses=` of a route that streams."""

LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", max_length=30, description="Resume after the event with this id.")
]


@dataclass(frozen=True, slots=True)
class SseEvent:
    """`seq` becomes the id; None leaves the client's last id as it is."""

    kind: str
    data: Any
    seq: int | None = None

    def encode(self) -> bytes:
        """With the id before the data, as every reader has had it since the first event; in one call it would come behind."""
        head = format_sse_event(event=self.kind, id=None if self.seq is None else str(self.seq))
        return head.removesuffix(b"\n") + format_sse_event(data_str=orjson.dumps(self.data).decode())


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a stream goes on. `is_lost`: the client named a place that this stream never had, so what it missed is not known."""

    after: int
    is_lost: bool = False


def resume(last_event_id: str | None, newest_seq: int, *, otherwise: int) -> Resumption:
    """After the id if it is one of this stream's, else after `otherwise`."""
    if last_event_id is None:
        return Resumption(otherwise)
    is_number = last_event_id.isascii() and last_event_id.isdigit()
    if not is_number or int(last_event_id) > newest_seq:
        return Resumption(otherwise, is_lost=True)
    return Resumption(int(last_event_id))


def missed(after: int, events: Sequence[Event]) -> SseEvent | None:
    """Numbers have no gaps, so one that is missing was removed with age: the client must look at everything anew."""
    if not events or events[0].seq == after + 1:
        return None
    return SseEvent(RESYNC, {"after": after, "next": events[0].seq})


def stamped(event: Event) -> dict[str, Any]:
    return {**event.data, "emitted_at": rfc3339(event.created_at)}


class EventStreamResponse(Response):
    """Sends chunks as they come, until they end, the client goes, or it has not taken one for SEND_TIMEOUT_S.

    The slot is held from the first byte to the last; where there is none, the answer is what entering it raises.
    """

    media_type = "text/event-stream"

    def __init__(
        self, chunks: AsyncGenerator[bytes, None], slot: AbstractContextManager[None], status_code: int = 200
    ) -> None:
        super().__init__(status_code=status_code)
        del self.headers["content-length"]
        self.raw_headers.extend(STREAM_HEADERS)
        self._chunks = chunks
        self._slot = slot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._slot:
            await self._stream(receive, send)

    async def _stream(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            results = await asyncio.gather(sending, leaving, return_exceptions=True)
        failure = results[0]
        if isinstance(failure, Exception) and not isinstance(failure, TimeoutError | OSError):
            raise failure

    async def _send(self, send: Send) -> None:
        async with aclosing(self._chunks) as chunks:
            async for chunk in chunks:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
