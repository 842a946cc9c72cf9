"""Small programs in place of ours, for tests of the supervisor: `stand_in.py api|worker|migrate|bootstrap|orphaning ...`."""

import http.server
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg

HEALTH = "health.json"
"""In the home: what `api` says of its health, where a test has written something there."""

BROKEN = "broken"
"""In the home: there is one while `fickle` ends at once."""


class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        said = Path(os.environ["QUARTERDECK_HOME"], HEALTH)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said.read_bytes() if said.exists() else b"fine")


def api(*_: str) -> None:
    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["QUARTERDECK_API_PORT"])), Health).serve_forever()


def worker(*_: str) -> None:
    Path(os.environ["QUARTERDECK_READY_FILE"]).write_text("ready")
    signal.pause()


def stubborn(*_: str) -> None:
    """Like a worker that never finishes what it does."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    worker()


def orphaning(*_: str) -> None:
    """Leaves a process behind that nobody waits for, and that ends."""
    subprocess.run(["sh", "-c", "sleep 0.2 &"], check=True)
    worker()


def fickle(*_: str) -> None:
    """Works as long as nobody has written that it does not."""
    if Path(os.environ["QUARTERDECK_HOME"], BROKEN).exists():
        sys.exit("no such thing as a working lamp")
    worker()


def broken(*_: str) -> None:
    sys.exit("no such thing as a working worker")


def migrate(*_: str) -> None:
    with psycopg.connect(os.environ["QUARTERDECK_DATABASE_URL"]) as connection:
        connection.execute("SELECT 1")


def bootstrap(_flag: str, path: str, *options: str) -> None:
    if not Path(path).exists():
        Path(path).write_text("{}")
        print("password shown-once" if "--show-credentials" in options else f"the password is in {path}")


if __name__ == "__main__":
    {f.__name__: f for f in (api, worker, stubborn, orphaning, fickle, broken, migrate, bootstrap)}[sys.argv[1]](
        *sys.argv[2:]
    )
