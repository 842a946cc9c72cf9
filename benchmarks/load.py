"""Running the load programs of this folder, each in a process of its own, on a machine that they share with what they load."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(__file__).parent
GRACE_S = 60.0


class Load(dict[str, float]):
    """What a load program printed: `requests`, `seconds`, `errors`, and for HTTP the latencies `p50_ms`, `p95_ms`, `p99_ms`."""

    @property
    def per_second(self) -> float:
        return self["requests"] / self["seconds"]


def http_load(port: int, connections: int, seconds: float, request: Path) -> Load:
    return _run(seconds, "http_load.py", str(port), str(connections), str(seconds), str(request))


@contextmanager
def http_load_beside(port: int, connections: int, seconds: float, request: Path) -> Iterator[None]:
    """For as long as the block takes, and for `seconds` at most. What it measures is nobody's concern."""
    command = _command("http_load.py", str(port), str(connections), str(seconds), str(request))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as loading:
        try:
            yield
        finally:
            loading.kill()


def start_load(address: str, clients: int, seconds: float) -> Load:
    return _run(seconds, "start_load.py", address, str(clients), str(seconds))


def _run(seconds: float, program: str, *arguments: str) -> Load:
    command = _command(program, *arguments)
    result = subprocess.run(command, stdout=subprocess.PIPE, timeout=seconds + GRACE_S, check=True)
    return Load(json.loads(result.stdout))


def _command(program: str, *arguments: str) -> list[str]:
    return [sys.executable, str(FOLDER / program), *arguments]
