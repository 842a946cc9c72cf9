"""An API that is told to stop while requests are under way ends in time, and its log shows no failure."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from tests.embedded.driver import ROOT, environment, wait_for
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase
from workers.embedded.home import ensure_key, open_home


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_a_request_that_does_not_end_is_cut_off_without_a_traceback(tmp_path: Path, database: TestDatabase) -> None:
    ensure_key(open_home(tmp_path))
    env = environment(tmp_path, QUARTERDECK_DATABASE_URL_API=database.api)
    port, log = int(env["QUARTERDECK_API_PORT"]), tmp_path / "api.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "api"], cwd=ROOT, env=env, stdout=output, stderr=output)
    try:
        wait_for(lambda: is_healthy(f"http://127.0.0.1:{port}"), "health")
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(GIVE_UP_S)
            client.sendall(
                b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
            )
            assert client.recv(65_536).startswith(b"HTTP/1.1 100 "), "it waits for the body"
            client.sendall(b"{")
            process.send_signal(signal.SIGTERM)
            answer = b"".join(iter(lambda: client.recv(65_536), b""))
            process.wait(GIVE_UP_S)
    finally:
        process.kill()
        process.wait(GIVE_UP_S)
    assert process.returncode == -signal.SIGTERM
    assert "cut off /auth/login" in log.read_text()
    assert not any(word in log.read_text() for word in ("Traceback", "ASGI callable"))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"SERVICE_UNAVAILABLE"' in answer
