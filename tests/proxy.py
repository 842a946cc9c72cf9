"""A forward proxy on loopback that remembers what it was asked for. What it lets through ends at one server of ours."""

import selectors
import socket
import socketserver
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.patience import GIVE_UP_S

SECRET = "planted-secret"
USER = "someone"


@dataclass
class RecordingProxy:
    """`asked` has a line per request: `CONNECT host:port`, `GET http://host/path`. `target`: where all of them end; None: they
    are answered with `refusal`.
    """

    target: tuple[str, int] | None = None
    refusal: int = 502
    port: int = 0
    asked: list[str] = field(default_factory=list)
    credentials: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://{USER}:{SECRET}@127.0.0.1:{self.port}"

    def handle(self, caller: socket.socket) -> None:
        head = _head(caller)
        if head is None:
            return
        lines, rest = head
        method, asked_for, version = lines[0].split(" ")
        self.asked.append(f"{method} {asked_for}")
        for line in lines:
            if line.lower().startswith("proxy-authorization: basic "):
                self.credentials.add(b64decode(line.split(" ")[2]).decode())
        if self.target is None:
            caller.sendall(f"HTTP/1.1 {self.refusal} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            return
        with socket.create_connection(self.target, timeout=GIVE_UP_S) as there:
            if method == "CONNECT":
                caller.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                parts = urlsplit(asked_for)
                path = parts.path + (f"?{parts.query}" if parts.query else "")
                there.sendall(
                    "\r\n".join((f"{method} {path} {version}", *lines[1:], "connection: close", "", "")).encode()
                )
            there.sendall(rest)
            _carry(caller, there)


def _head(caller: socket.socket) -> tuple[list[str], bytes] | None:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = caller.recv(65_536)
        if not chunk:
            return None
        received += chunk
    head, _, rest = received.partition(b"\r\n\r\n")
    return [line for line in head.decode("latin-1").split("\r\n") if not line.lower().startswith("connection:")], rest


def _carry(one: socket.socket, other: socket.socket) -> None:
    """Bytes both ways until one of them has said all."""
    with selectors.DefaultSelector() as either:
        either.register(one, selectors.EVENT_READ, other)
        either.register(other, selectors.EVENT_READ, one)
        while ready := either.select(GIVE_UP_S):
            for key, _ in ready:
                chunk = key.fileobj.recv(65_536)  # type: ignore[union-attr]  # only sockets are registered
                if not chunk:
                    return
                key.data.sendall(chunk)


@contextmanager
def recording_proxy(target: tuple[str, int] | None = None, *, refusal: int = 502) -> Iterator[RecordingProxy]:
    proxy = RecordingProxy(target, refusal)

    class Caller(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                proxy.handle(self.request)
            except OSError:  # the caller, or whom it called, hung up
                self.request.close()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Caller) as server:
        proxy.port = server.server_address[1]
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield proxy
        server.shutdown()
        serving.join(GIVE_UP_S)
