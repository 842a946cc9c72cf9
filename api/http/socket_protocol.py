"""WebSocket (RFC 6455) as uvicorn speaks it, with an end to everything that a peer may send, leave unread or leave unsaid.

Imported with the first socket of a process: one without pays nothing for it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import HeaderLineTooLong, RequestLineTooLong, TooManyHeaders
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol

from api.http.errors import UNEXPECTED, Failure, as_bytes
from api.http.turns import Turns

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent

MESSAGE_LIMIT_BYTES = 65_536
"""The longest message that is taken, as of a request's body (`api.http.body_limits`); 1009 for a longer one."""
MOST_FRAGMENTS = 1_000
"""Of one message: one of fragments with nothing in them would never reach the limit above."""
UNREAD_LIMIT_BYTES = 262_144
"""What may wait to be taken by somebody who goes on pinging: each ping is answered."""
SLICE_BYTES = 4_096
"""What is parsed in a turn of the loop, of all sockets together: 682 frames at most. One read may hold 43,690."""
TURNS: WeakKeyDictionary[ServerState, Turns] = WeakKeyDictionary()
UNWANTED_LIMIT_BYTES = 65_536
"""What may come after our last word: what was under way, and the peer's own close."""
PING_INTERVAL_S = PING_TIMEOUT_S = 20.0
"""As uvicorn and websockets have it. A peer that is gone without a word is noticed within the two of them."""
LAST_WORDS_S = 10.0
"""How long a peer may leave the last frame unread, or its own close unsaid; then the connection is cut off."""

NO_SOCKET = Failure(
    400, "MALFORMED_REQUEST", "this is not a handshake of WebSocket (RFC 6455, section 4.2.1), version 13"
)
TOO_LARGE: Mapping[type[Exception], str] = {
    RequestLineTooLong: "the line of a handshake has at most 8,190 bytes",
    HeaderLineTooLong: "each header of a handshake has at most 8,190 bytes",
    TooManyHeaders: "a handshake has at most 128 headers",
}
"""By what `websockets` raises; its own limits. Whatever else it makes of a head is NO_SOCKET."""

QUIET = logging.getLogger(f"{__name__}.quiet")
QUIET.setLevel(logging.CRITICAL + 1)
"""For both libraries. They would log what peers send, queries among it; what goes wrong in a handler is told by its edge."""


class SocketProtocol(WebSocketsSansIOProtocol):
    """Without compression: nobody sends a bomb, and no connection keeps a window of memory for it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = QUIET
        self.conn = ServerProtocol(extensions=[], max_size=MESSAGE_LIMIT_BYTES, logger=QUIET)
        self.ping_interval, self.ping_timeout, self.close_timeout = PING_INTERVAL_S, PING_TIMEOUT_S, LAST_WORDS_S
        self._cut_off: asyncio.TimerHandle | None = None
        self._kept = bytearray()
        """Of what was read, what has not been parsed; at most one read, for while there is any no other follows."""
        self._turns = TURNS.setdefault(server_state, Turns(self.loop, SLICE_BYTES))
        self._waits_for_turn = False
        self._unwanted_bytes = 0
        self.when_lost: Callable[[], None] = lambda: None
        """Called once, when the connection is over."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._cut_off is not None:
            self._cut_off.cancel()
        self.when_lost()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.handshake_initiated:
            self._kept += data
            self._read_on_soon()
            if self._kept and not self.transport.is_closing():
                self._pause_or_resume()
            return
        super().data_received(data)  # the head, whole, as the protocol before this one has it
        if self.conn.handshake_exc is not None:
            too_large = TOO_LARGE.get(type(self.conn.handshake_exc))
            self._refuse(Failure(431, "HEADERS_TOO_LARGE", f"{too_large}; send less") if too_large else NO_SOCKET)

    async def receive(self) -> "ASGIReceiveEvent":
        message = await self.queue.get()
        self._read_on_soon()
        return message

    def handle_connect(self, event: Request) -> None:
        if self.conn.accept(event).status_code == 101:
            super().handle_connect(event)
        else:
            self._refuse(NO_SOCKET)

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MOST_FRAGMENTS:
            self.conn.fail(1009, "too many fragments")
            self.handle_parser_exception()
        else:
            super().handle_cont(event)

    def handle_ping(self) -> None:
        super().handle_ping()
        if self.transport.get_write_buffer_size() > UNREAD_LIMIT_BYTES:
            self.transport.abort()

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._end_soon()

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        self._end_soon()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._end_soon()

    def shutdown(self) -> None:
        super().shutdown()
        self._end_soon()

    async def send(self, message: "ASGISendEvent") -> None:
        is_last = message["type"] in {"websocket.close", "websocket.http.response.body"}
        if is_last:
            self.writable.set()  # the last word is put behind what has not been taken yet, not kept back for it
        await super().send(message)
        self._read_on_soon()
        if is_last:
            self._end_soon()

    def send_500_response(self) -> None:
        if not self.handshake_complete and self.initial_response is None:
            self._refuse(UNEXPECTED)

    def _read_on_soon(self) -> None:
        if not self._waits_for_turn and (self.read_paused or self._kept):
            self._waits_for_turn = True
            self._turns.ask(self._read_on)

    def _read_on(self, most_bytes: int) -> int:
        """Parse so much of what is kept, if somebody takes what may be in it; returns how much it was."""
        self._waits_for_turn, piece = False, b""
        if self._is_taken() and not self.transport.is_closing():
            piece = bytes(self._kept[:most_bytes])
            del self._kept[:most_bytes]
            if piece and self._is_wanted(piece):
                super().data_received(piece)
        if self.transport.is_closing():
            self._kept.clear()
        else:
            self._pause_or_resume()
            if self._kept and self._is_taken():
                self._read_on_soon()
        return len(piece)

    def _pause_or_resume(self) -> None:
        """Nothing more is read until all that came has been parsed."""
        is_enough = bool(self._kept) or not self._is_taken()
        if is_enough != self.read_paused:
            self.read_paused = is_enough
            (self.transport.pause_reading if is_enough else self.transport.resume_reading)()

    def _is_taken(self) -> bool:
        """Not before the socket is accepted, nor while a message waits; after our close only the peer's is looked for."""
        return self.close_sent or (self.handshake_complete and self.queue.empty())

    def _is_wanted(self, piece: bytes) -> bool:
        if self.close_sent:
            self._unwanted_bytes += len(piece)
            if self._unwanted_bytes > UNWANTED_LIMIT_BYTES:
                self.transport.abort()
                return False
        return True

    def _refuse(self, failure: Failure) -> None:
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        self.transport.write(as_bytes(failure))
        self.transport.close()
        self._end_soon()

    def _end_soon(self) -> None:
        """Closing waits for what has been written to be taken, without end."""
        if self._cut_off is None and not self.disconnected:
            self._cut_off = self.loop.call_later(LAST_WORDS_S, self.transport.abort)
