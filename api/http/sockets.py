"""What a handler of a socket works with: `socket: Opened` beside the dependencies of any other handler.

    @sockets.websocket("/things/{thing_id}/stream")
    async def follow_thing(thing_id: UUID, reader: Reader, state: State, socket: Opened) -> None:
        async with state.database.tenant(reader.organization_id, reader.user_id) as session:
            await things.get(session, thing_id)  # 4003 for what is another's
        await socket.follow(stream_of("thing", thing_id))

Messages are JSON in text frames, `{"type", "data"}` and, of a stream, `seq`, both ways. How one ends: `api.http.socket_edge`.
"""

import asyncio
from contextlib import aclosing
from typing import Annotated, Any

import orjson
from fastapi import Depends, Query, WebSocket

from api.deps import State
from api.http.following import Written, as_it_is, followed, following_of
from api.http.socket_edge import RESTART, TOO_SLOW, TRY_AGAIN, Ending, SocketEnds, as_text
from api.http.sse import SEND_TIMEOUT_S, LastEventId
from api.security.identities import Authenticated
from api.security.permissions import Caller
from api.state import AppState
from models.base.errors import MalformedRequest
from models.base.json_bounds import check_json_bounds


class Socket:
    """An open socket whose caller is known."""

    def __init__(self, websocket: WebSocket, caller: Authenticated, state: AppState, after: str | None) -> None:
        self._websocket, self._caller, self._state, self._after = websocket, caller, state, after
        self._sent_seq: int | None = None

    async def send(self, kind: str, data: Any, seq: int | None = None) -> None:
        """One message. A peer that takes none for SEND_TIMEOUT_S is given up, and told where to resume.

        Raises SocketEnds, WebSocketDisconnect.
        """
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._websocket.send_text(as_text(kind, data, seq))
        except TimeoutError:
            raise SocketEnds(Ending(TOO_SLOW, self._resume_at("TOO_SLOW"))) from None
        self._sent_seq = self._sent_seq if seq is None else seq

    async def receive(self) -> dict[str, Any]:
        """The next message. Raises MalformedRequest, WebSocketDisconnect."""
        return await received(self._websocket)

    async def follow(self, stream: str, *, from_start: bool = False, written: Written = as_it_is) -> None:
        """Send the stream's events, from where the caller left off, until one of the two ends. What the caller sends is not read.

        A caller who names no place gets what comes from now on, or `from_start` everything. `written` gives what is sent of an
        event, None for one that is not. Raises SocketEnds, WebSocketDisconnect, Unauthenticated, ServiceUnavailable.
        """
        following = await following_of(
            self._state.database, self._caller, stream, self._after, from_start=from_start, written=written
        )
        feed = self._state.event_feed
        async with aclosing(followed(feed, self._state.identities, following)) as found:
            async for events in found:
                for event in events:
                    await self.send(event.kind, event.data, event.seq)
        if (lost := self._state.identities.lost(following.token_hash)) is not None:
            raise lost
        raise SocketEnds(Ending(RESTART if feed.stopping else TRY_AGAIN, self._resume_at("RESUME")))

    def _resume_at(self, word: str) -> str:
        return word if self._sent_seq is None else f"{word} after={self._sent_seq}"


async def received(websocket: WebSocket) -> dict[str, Any]:
    """The next message, of an object in JSON. Raises MalformedRequest, WebSocketDisconnect."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        websocket._raise_on_disconnect(message)  # noqa: SLF001
    text: str | None = message.get("text")
    if text is None:
        raise MalformedRequest("send messages as text frames")
    check_json_bounds(text.encode())
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise MalformedRequest("a message is one JSON object")
    return document


async def _opened(
    websocket: WebSocket,
    caller: Caller,
    state: State,
    after: Annotated[str | None, Query(max_length=30, description="Resume after the event with this number.")] = None,
    last_event_id: LastEventId = None,
) -> Socket:
    return Socket(websocket, caller, state, after if after is not None else last_event_id)


Opened = Annotated[Socket, Depends(_opened)]
"""The socket, accepted. With it come the query parameter `after` and the header `Last-Event-ID`."""
