"""HTTP/1.1 as uvicorn reads it, with answers of ours for what never becomes a request, and an end to every wait for a caller."""

import asyncio
import logging
import re
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.closing import ClosingCycle
from api.http.connections import Connections, Patience
from api.http.errors import Failure, as_bytes
from api.http.lingering import LINGER_S

logger = logging.getLogger(__name__)

HEAD_LIMIT_BYTES = 65_536
"""As h11, uvicorn's other parser, has it by default; browsers and proxies send less than 16 KiB."""
UNREAD_S = 60.0
"""How long a caller may take nothing of an answer that waits for it."""
HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
"""RFC 9110, section 7.2: a host of RFC 3986 and a port, told apart by whoever uses them."""

TOO_LARGE = Failure(
    431, "HEADERS_TOO_LARGE", f"the request's line and headers are larger than {HEAD_LIMIT_BYTES} bytes; send less"
)
NO_HTTP = Failure(400, "MALFORMED_REQUEST", "this is not a request as HTTP/1.1 (RFC 9112) has it; see how it is framed")
NO_HOST = Failure(
    400, "MALFORMED_REQUEST", "a request of HTTP/1.1 has one Host header with a host in it (RFC 9112, 3.2)"
)
SOCKET_WITH_MORE = Failure(
    400, "MALFORMED_REQUEST", "a handshake of WebSocket has no body, and comes when earlier requests have been answered"
)
HEAD_LATE = Failure(408, "REQUEST_TIMEOUT", "the request's line and headers did not arrive in time")
BODY_LATE = Failure(408, "REQUEST_TIMEOUT", "nothing more of the request's body arrived in time")


class HeadRefused(Exception):
    """Ends the parser's reading of a head that came whole and will not do; it has been answered."""


class HttpProtocol(HttpToolsProtocol):
    """400 for what is no HTTP; 431 for a head without an end, of which the parser alone would keep all that is sent; 408 for what
    does not come; 429 for more connections than one caller may have.
    """

    connections_of_callers: ClassVar[Connections] = Connections(Patience(), per_site=256, in_all=65_536)

    _head_bytes: int | None = 0
    """What has come of the head; None while a body is read."""
    _between_bytes = 0
    """What has come since the last piece of a body: sizes of chunks and, after the last of them, trailers."""
    _passed_over_bytes = 0
    """What has come of a body whose request has been answered."""
    _is_in_head = False
    _is_refused = False
    _is_handed_over = False
    """To the protocol of sockets."""
    _is_lingering = False
    _address = ""
    _wait: asyncio.TimerHandle | None = None
    """Until the head, or the next piece of the body, has to be there."""
    _waits_for_head = False
    _last_piece_s = 0.0
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = self.client[0] if self.client else "unknown"
        failure = self.connections_of_callers.opened(self._address)
        if failure is None:
            self._wait_for(head=True)
            return
        logger.warning("a connection too many was refused (%s)", failure.code)
        self._is_lingering = self.connections_of_callers.may_linger()
        if self._is_lingering:
            self._refuse(failure)
        else:
            self._is_refused = True
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.connections_of_callers.closed(self._address)
        if self._is_lingering:
            self.connections_of_callers.lingered()
        self._stop_timers()

    def _stop_timers(self) -> None:
        self._stop_waiting()
        if self._unread is not None:
            self._unread.cancel()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        else:
            self._between_bytes += len(data)
        super().data_received(data)
        if self._is_refused or self._is_handed_over or self.transport.is_closing():
            return
        unfinished_bytes = self._between_bytes if self._head_bytes is None else self._head_bytes
        if unfinished_bytes > HEAD_LIMIT_BYTES:
            self._refuse(TOO_LARGE)
        else:
            self._wait_for_the_rest()

    def _wait_for_the_rest(self) -> None:
        if self._head_bytes is None:
            self._last_piece_s = self.loop.time()
            self._wait_for(head=False)
        elif self._is_in_head or self.cycle is None or self.cycle.response_complete:
            self._wait_for(head=True)
        elif self._wait is not None:
            self._stop_waiting()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = True

    def on_body(self, body: bytes) -> None:
        self._between_bytes = 0
        if self.cycle.response_complete:
            self._pass_over(body)
        super().on_body(body)

    def on_headers_complete(self) -> None:
        if (
            self._head_bytes is not None
            and self._head_bytes > HEAD_LIMIT_BYTES
            and self._size_of_head() > HEAD_LIMIT_BYTES
        ):
            self._refuse(TOO_LARGE)
            raise HeadRefused
        if not self._has_one_host():
            self._refuse(NO_HOST)
            raise HeadRefused
        if self.parser.should_upgrade() and self._should_upgrade() and not self._is_alone():
            self._refuse(SOCKET_WITH_MORE)
            raise HeadRefused
        self.headers = (
            self.headers.copy()
        )  # trailers come to it: they are no headers of the request, which keeps its own
        self._head_bytes, self._between_bytes, self._passed_over_bytes, self._is_in_head = None, 0, 0, False
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before and self.scope.get("http_version") == "1.0":
            self.cycle.__class__ = ClosingCycle  # uvicorn has no place to say it; the cycle has not begun yet

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_the_unread()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_the_unread()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_the_unread()

    def _should_upgrade(self) -> bool:
        """To a socket. Any other wish is passed over, and so is this one of another method or of HTTP/1.0 (RFC 9110, 7.8)."""
        return (
            self._get_upgrade() == b"websocket"
            and self.parser.get_method() == b"GET"
            and self.parser.get_http_version() == "1.1"
        )

    def _is_alone(self) -> bool:
        """Whether the request is nothing but a head, and nobody writes to this connection any more."""
        has_body = any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in self.headers
        )
        return not has_body and (self.cycle is None or self.cycle.response_complete)

    def handle_websocket_upgrade(self) -> None:
        """From here on the connection is the other protocol's; it counts among the caller's until it ends."""
        from api.http.socket_protocol import SocketProtocol  # noqa: PLC0415  (most processes never have a socket)

        self._is_handed_over = True
        self._stop_timers()
        self.ws_protocol_class = SocketProtocol
        super().handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        assert isinstance(protocol, SocketProtocol)  # noqa: S101  (which the line before has made)
        closed, address = self.connections_of_callers.closed, self._address
        protocol.when_lost = lambda: closed(address)

    def _unsupported_upgrade_warning(self) -> None:
        """What else somebody would rather speak is passed over, and is nothing to warn of."""

    def send_400_response(self, msg: str) -> None:
        self._refuse(NO_HTTP)

    def _has_one_host(self) -> bool:
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) == 1:
            return HOST.fullmatch(hosts[0]) is not None
        return not hosts and self.parser.get_http_version() != "1.1"

    def _size_of_head(self) -> int:
        """Without what of the body came along with it."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _pass_over(self, body: bytes) -> None:
        """Of a body without end somebody who has his answer is not told that it is enough: the connection ends."""
        self._passed_over_bytes += len(body)
        if self._passed_over_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
            self._refuse(TOO_LARGE)

    # -- Waiting

    def _wait_for(self, *, head: bool) -> None:
        """A wait for the same thing goes on: it is not begun anew by each byte."""
        if self._wait is not None:
            if self._waits_for_head == head:
                return
            self._wait.cancel()
        patience = self.connections_of_callers.patience
        self._waits_for_head = head
        self._wait = self.loop.call_later(patience.head_s if head else patience.body_s, self._late)

    def _stop_waiting(self) -> None:
        if self._wait is not None:
            self._wait.cancel()
            self._wait = None

    def _late(self) -> None:
        self._wait = None
        if self._is_refused or self.transport.is_closing():
            return
        if self.flow.read_paused:  # what we do not read cannot be late
            self._last_piece_s = self.loop.time()
            self._wait_for(head=self._waits_for_head)
        elif self._waits_for_head and not self._head_bytes and not self._is_in_head:
            self._hang_up()  # nothing was asked
        elif self._waits_for_head:
            self._refuse(HEAD_LATE)
        else:
            left_s = self._last_piece_s + self.connections_of_callers.patience.body_s - self.loop.time()
            if left_s <= 0:
                self._refuse(BODY_LATE)
            else:
                self._wait = self.loop.call_later(left_s, self._late)

    def _watch_the_unread(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD_S, self._is_unread, self.transport.get_write_buffer_size())

    def _is_unread(self, waiting_bytes: int) -> None:
        """Closing waits for what has been written to be taken, without end: whoever takes nothing is cut off."""
        self._unread = None
        left_bytes = self.transport.get_write_buffer_size()
        if not left_bytes and not self.transport.is_closing():
            return
        if left_bytes >= waiting_bytes:
            self.transport.abort()
        else:
            self._watch_the_unread()

    # -- Refusing

    def _refuse(self, failure: Failure) -> None:
        """Answered once, unless that would be written into the answer to an earlier request; then the caller is hung up on."""
        if self._is_refused:
            return
        self._is_refused = True
        self._stop_waiting()
        if self._has_no_answer_under_way():
            self.transport.write(as_bytes(failure))
            if self.transport.can_write_eof():
                self.transport.write_eof()
        self.loop.call_later(LINGER_S, self._hang_up)

    def _hang_up(self) -> None:
        self.transport.close()
        self._watch_the_unread()

    def _has_no_answer_under_way(self) -> bool:
        if self.cycle is None or self.cycle.response_complete:
            return self._head_bytes is not None  # else the caller would take it for the answer to what it asks next
        if self._head_bytes is None and not self.cycle.response_started and not self.pipeline:
            # The request whose body is broken: for the application its caller is gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            return True
        return False


def protocol_of(connections: Connections) -> type[HttpProtocol]:
    """The protocol for one server, whose connections are counted there. (uvicorn makes one object of the class for each.)"""

    class CountedHttpProtocol(HttpProtocol):
        connections_of_callers = connections

    return CountedHttpProtocol
