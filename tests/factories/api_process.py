"""`python -m api` as a process of its own, alone: no worker, and a Temporal address where nothing listens."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.api.conftest import INSTALLATION_KEY
from tests.servers import TestDatabase, running
from workers.embedded.ports import free_port
from workers.embedded.processes import ProcessSpec

ROOT = Path(__file__).parents[2]


@contextmanager
def api_process(database: TestDatabase, home: Path, **settings: str) -> Iterator[tuple[str, Path]]:
    """Its address and its log. It believes `X-Forwarded-For`, and never takes an agent for silent; `settings` say otherwise."""
    port, log = free_port(), home / "api.log"
    url = f"http://127.0.0.1:{port}"
    env = {
        "PATH": os.environ["PATH"],
        "QUARTERDECK_HOME": str(home),
        "QUARTERDECK_INSTALLATION_KEY": INSTALLATION_KEY,
        "QUARTERDECK_DATABASE_URL_API": database.api,
        "QUARTERDECK_API_PORT": str(port),
        "QUARTERDECK_TEMPORAL_ADDRESS": f"127.0.0.1:{free_port()}",
        "QUARTERDECK_TRUSTED_PROXIES": "127.0.0.1",
        "QUARTERDECK_WORKER_STALE_SECONDS": "86400",
        **{f"QUARTERDECK_{name.upper()}": value for name, value in settings.items()},
    }
    spec = ProcessSpec("api", (sys.executable, "-m", "api"), log, ROOT, env)

    def is_ready() -> bool:
        try:
            return httpx.get(f"{url}/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    with running(spec, is_ready):
        yield url, log
