"""A model server that accepts whatever a fuzzer makes of a request: every answer is the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = {"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": {"content": "hello"}}]}
STREAM = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"hello"}}]}\n\ndata: [DONE]\n\n'


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        is_stream = body.get("stream") is True
        content = STREAM if is_stream else json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if is_stream else "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@contextmanager
def model_server() -> Iterator[int]:
    """Its port, while it runs in a thread."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
