"""A server on loopback whose certificate nobody vouches for but itself."""

import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.needs import need_program
from tests.patience import GIVE_UP_S


@dataclass
class TlsServer:
    authorities: Path
    address: tuple[str, int] = ("127.0.0.1", 0)
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving_tls(folder: Path) -> Iterator[TlsServer]:
    """`deck.example`, by a certificate that it has signed itself."""
    openssl = need_program("openssl", "apt-get install openssl")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=deck", "-addext", "subjectAltName=DNS:deck.example"],
        check=True, capture_output=True,
    )  # fmt: skip
    told = TlsServer(certificate)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append(f"GET {self.path}")
            self.send_response(401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """The test looks at `asked`."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        told.address = ("127.0.0.1", server.server_address[1])
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield told
        server.shutdown()
        serving.join(GIVE_UP_S)
