"""Answers to HTTP/1.0, which knows no chunks: a body of unknown length ends with its connection (RFC 9112, section 6.3)."""

import sys
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent


class ClosingCycle(RequestResponseCycle):
    """uvicorn's cycle of one request, which sends chunks to everybody. The connection it closes after HTTP/1.0 anyway."""

    _ends_with_connection = False

    async def send(self, message: "ASGISendEvent") -> None:
        if message["type"] == "http.response.start" and not self.response_started:
            names = {name.lower() for name, _ in message.get("headers", [])}
            self._ends_with_connection = not names & {b"content-length", b"transfer-encoding"}
            if self._ends_with_connection:
                self.chunked_encoding, self.expected_content_length = False, sys.maxsize
        elif message["type"] == "http.response.body" and self._ends_with_connection and not message.get("more_body"):
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
