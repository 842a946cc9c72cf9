"""A limit on what comes before a body: a request's line and headers together."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.errors import Failure, response_to
from models.base.ids import new_id

HEAD_LIMIT_BYTES = 65_536
"""As h11, uvicorn's other parser, has it by default; browsers and proxies send less than 16 KiB."""

LINGER_S = 1.0
"""How long a refused caller is listened to without heed: closing while it still sends would reset the connection, and the answer
would be lost with it (RFC 9112, section 9.6)."""

TOO_LARGE = Failure(
    431, "HEADERS_TOO_LARGE", f"the request's line and headers are larger than {HEAD_LIMIT_BYTES} bytes; send less"
)


class HeadLimited(HttpToolsProtocol):
    """431 for a head that is still not complete beyond the limit. The parser alone would keep all that anybody sends."""

    _head_bytes: int | None = 0
    """What has come of the head; None while a body is read."""
    _is_refused = False

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes is not None and self._head_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
            self._refuse()

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()

    def _refuse(self) -> None:
        """An answer to an earlier request that is still being sent is not written into."""
        if self.cycle is None or self.cycle.response_complete:
            response = response_to(TOO_LARGE, "/", str(new_id()))
            headers = [*response.raw_headers, (b"connection", b"close")]
            lines = [b"HTTP/1.1 431 Request Header Fields Too Large", *(b": ".join(pair) for pair in headers)]
            self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(response.body))
        self._is_refused = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)
