"""HTTP/1.1 as uvicorn reads it, with answers of ours for what never becomes a request."""

from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.errors import Failure, response_to
from api.http.lingering import LINGER_S
from models.base.ids import new_id

HEAD_LIMIT_BYTES = 65_536
"""As h11, uvicorn's other parser, has it by default; browsers and proxies send less than 16 KiB."""

TOO_LARGE = Failure(
    431, "HEADERS_TOO_LARGE", f"the request's line and headers are larger than {HEAD_LIMIT_BYTES} bytes; send less"
)
NO_HTTP = Failure(400, "MALFORMED_REQUEST", "this is not a request as HTTP/1.1 (RFC 9112) has it; see how it is framed")


class HeadTooLarge(Exception):
    """Ends the parser's reading of a head that came whole and is too large; it has been answered."""


class HttpProtocol(HttpToolsProtocol):
    """400 for what is no HTTP; 431 for a head without an end, of which the parser alone would keep all that is sent."""

    _head_bytes: int | None = 0
    """What has come of the head; None while a body is read."""
    _between_bytes = 0
    """What has come since the last piece of a body: sizes of chunks and, after the last of them, trailers."""
    _is_refused = False

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        else:
            self._between_bytes += len(data)
        super().data_received(data)
        unfinished_bytes = self._between_bytes if self._head_bytes is None else self._head_bytes
        if unfinished_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
            self._refuse(TOO_LARGE)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_bytes is not None:  # nobody here reads trailers
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._between_bytes = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        if (
            self._head_bytes is not None
            and self._head_bytes > HEAD_LIMIT_BYTES
            and self._size_of_head() > HEAD_LIMIT_BYTES
        ):
            self._refuse(TOO_LARGE)
            raise HeadTooLarge
        self._head_bytes, self._between_bytes = None, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()

    def _size_of_head(self) -> int:
        """Without what of the body came along with it."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def send_400_response(self, msg: str) -> None:
        self._refuse(NO_HTTP)

    def _refuse(self, failure: Failure) -> None:
        """Answered once, unless that would be written into the answer to an earlier request; then the caller is hung up on."""
        if self._is_refused:
            return
        self._is_refused = True
        if self._has_no_answer_under_way():
            response = response_to(failure, "/", str(new_id()))
            headers = [*response.raw_headers, (b"connection", b"close")]
            lines = [
                f"HTTP/1.1 {failure.status} {HTTPStatus(failure.status).phrase}".encode(),
                *(b": ".join(pair) for pair in headers),
            ]
            self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(response.body))
            if self.transport.can_write_eof():
                self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)

    def _has_no_answer_under_way(self) -> bool:
        if self.cycle is None or self.cycle.response_complete:
            return True
        if self._head_bytes is None and not self.cycle.response_started and not self.pipeline:
            # The request whose body is broken: for the application its caller is gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            return True
        return False
