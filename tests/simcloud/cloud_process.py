"""A real simulated cloud as a child process on a free port, with the hands that tests need to break it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.patience import GIVE_UP_S

TOKEN = "cloud-token-of-the-tests"
QUICK = ("--build-s", "0.1", "--rebuild-s", "0.1", "--delete-s", "0.1", "--preempted-shown-s", "1.0", "--phase-s", "0.05",
         "--tick-s", "0.02")  # fmt: skip


class CloudProcess:
    def __init__(self, folder: Path, *options: str) -> None:
        self.database = folder / "cloud.db"
        self._log = folder / "cloud.log"
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.http = httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=GIVE_UP_S, trust_env=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def memory_bytes(self) -> int:
        assert self._process is not None
        return int(psutil.Process(self._process.pid).memory_full_info().pss)

    @property
    def cpu_s(self) -> float:
        assert self._process is not None
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def start(self) -> None:
        """Returns once it listens. A second start takes the port of the first."""
        command = [
            sys.executable,
            "-m",
            "simcloud",
            "--port",
            str(self.port),
            "--db",
            str(self.database),
            *QUICK,
            *self._options,
        ]
        environment = {"PATH": os.environ.get("PATH", ""), "QUARTERDECK_SIMCLOUD_TOKEN": TOKEN}
        with self._log.open("a") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("simulated cloud listening on http://"), self._log.read_text()
        self.port = int(line.rsplit(":", 1)[1])

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(GIVE_UP_S)
        self._close_output()

    def stop(self) -> int:
        """SIGTERM. The exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(GIVE_UP_S)
        self._close_output()
        return status

    def close(self) -> None:
        self.http.close()
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return _answer(self.http.get(self.url + path, params=query))

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        return _answer(self.http.post(self.url + path, json=body))

    def put(self, path: str, **body: Any) -> dict[str, Any]:
        return _answer(self.http.put(self.url + path, json=body))

    def delete(self, path: str) -> dict[str, Any]:
        return _answer(self.http.delete(self.url + path))

    def fault(self, request_class: str, kind: str, **settings: Any) -> None:
        self.post("/sim/faults", **{"class": request_class, "kind": kind, **settings})

    def ledger(self, **query: str) -> dict[str, Any]:
        return self.get("/sim/ledger", **query)

    def live(self) -> list[str]:
        return [machine["id"] for machine in self.ledger()["machines"] if machine["live"]]

    def _close_output(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()


@contextmanager
def running_cloud(folder: Path, *options: str) -> Iterator[CloudProcess]:
    cloud = CloudProcess(folder, *options)
    try:
        cloud.start()
        yield cloud
    finally:
        cloud.close()


def _answer(response: httpx.Response) -> dict[str, Any]:
    assert response.is_success, (
        f"{response.request.method} {response.request.url}: {response.status_code} {response.text}"
    )
    body = response.json()
    assert isinstance(body, dict)
    return body
