"""The product's own processes for a benchmark: the parts that `quarterdeck up` runs, on free ports, in a home of their own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psycopg

from models.settings import Settings
from models.settings.derived import simcloud_token, simcloud_url
from workers.embedded import processes
from workers.embedded.home import Home, ensure_key, open_home
from workers.embedded.ports import free_port
from workers.embedded.postgres import PostgresServer
from workers.embedded.stack import Programs, Stack
from workers.embedded.supervisor import Part

START_TIMEOUT_S = 60.0
SETUP_TIMEOUT_S = 120.0


class RunningStack:
    """Postgres with its schema, and the parts that a benchmark starts. Everything is gone after `running_stack`."""

    def __init__(self, settings: Settings, home: Home, exits: ExitStack, programs: Programs) -> None:
        self.settings, self.home = settings, home
        self._stack, self._exits = Stack(settings, home, programs), exits
        self.postgres = self._start_postgres()
        self._set_up("migrate", self._stack.programs.migrate)
        self._set_up("bootstrap", (*self._stack.programs.bootstrap, "--admin-file", str(home.admin_file)))
        self._admin = json.loads(home.admin_file.read_text())

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.api_port}"

    @property
    def temporal_address(self) -> str:
        return f"127.0.0.1:{self.settings.temporal_port}"

    @property
    def api_key(self) -> str:
        return str(self._admin["api_key"])

    def superuser(self) -> psycopg.Connection:
        return psycopg.connect(self.postgres.url(), autocommit=True)

    def start_temporal(self) -> None:
        self._start(self._stack.temporal())

    def start_simcloud(self) -> None:
        self._start(self._stack.simcloud())

    def start_api(self) -> "Measured":
        return Measured("API", self._start(self._stack.api()))

    def start_worker(self) -> "Measured":
        return Measured("worker", self._start(self._stack.worker()))

    def client(self, connections: int = 32) -> httpx.AsyncClient:
        """A client of the API, signed in."""
        return httpx.AsyncClient(
            base_url=self.api_url,
            headers={"Authorization": f"Bearer {self.api_key}"},
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            timeout=60.0,
        )

    def ledger(self) -> dict[str, int]:
        """How many machines and volumes the simulated cloud has and had: its own totals, not our rows."""
        token = simcloud_token(self.settings).get_secret_value()
        answer = httpx.get(
            f"{simcloud_url(self.settings)}/sim/ledger",
            headers={"Authorization": f"Bearer {token}"},
            timeout=60.0,
        )
        answer.raise_for_status()
        return dict(answer.json()["totals"])

    def request_file(self, method: str, path: str, body: object = None) -> Path:
        """A request as it goes over the wire, for `benchmarks/http_load.py`."""
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.api_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        descriptor, name = tempfile.mkstemp(dir=self.home.path, suffix=".http")
        with os.fdopen(descriptor, "wb") as file:
            file.write(head.encode() + content)
        return Path(name)

    def _start_postgres(self) -> PostgresServer:
        server, part = self._stack.postgres()
        if server.folder.parent != self.home.path:  # for root it lies outside the home
            self._exits.callback(server.folder.with_name(f"{server.folder.name}.json").unlink, missing_ok=True)
            self._exits.callback(shutil.rmtree, server.folder, ignore_errors=True)
        self._start(part)
        server.ensure_database()
        return server

    def _start(self, part: Part) -> int:
        spec = part.prepare()
        process = processes.spawn(spec)
        self._exits.callback(processes.stop, process, spec)
        processes.wait_until_ready(process, spec, part.is_ready, START_TIMEOUT_S)
        return process.pid

    def _set_up(self, name: str, command: tuple[str, ...]) -> None:
        spec = self._stack.setup(name, command)
        subprocess.run(
            spec.argv, cwd=spec.cwd, env=spec.env, stdout=subprocess.DEVNULL, timeout=SETUP_TIMEOUT_S, check=True
        )


class Measured:
    """A process whose memory is asked for."""

    def __init__(self, name: str, pid: int) -> None:
        self.name, self._pid = name, pid

    def pss_mb(self) -> float:
        """Proportional set size: what is its own, and its share of what it shares."""
        rollup = Path(f"/proc/{self._pid}/smaps_rollup").read_text()
        match = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        assert match is not None
        return int(match.group(1)) / 1000


@contextmanager
def running_stack(programs: Programs | None = None, **overrides: object) -> Iterator[RunningStack]:
    """Postgres runs, with the schema, the seeds and an administrator. `programs` are the product's where none are given;
    `overrides` are settings by name.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of everything that has to be stopped
    with ExitStack() as exits:
        home = open_home(Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="quarterdeck-bench-"))))
        home.path.chmod(0o711)  # for root: on the way to PostgreSQL's folder, as `quarterdeck up` leaves it
        ensure_key(home)
        ports = {name: free_port() for name in ("api_port", "temporal_port", "temporal_ui_port", "simcloud_port")}
        chosen = {"home": home.path, "log_level": "warning", **ports, **overrides}
        with _environment({f"QUARTERDECK_{name.upper()}": str(value) for name, value in chosen.items()}):
            yield RunningStack(Settings(), home, exits, programs or Programs())
            exits.close()  # while the environment is still that of the processes


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Ours instead of the shell's `QUARTERDECK_*`: they are what the processes read."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("QUARTERDECK_")]:
        del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
