"""The inference proxy beside the least that a proxy can do, in one interleaved run: `python -m benchmarks.proxy`.

Limits (exit 1 where one is missed): at least half the throughput of a bare ASGI pass-through to the same upstream, authentication
and metering on, one process; at most 1 ms more at the median for one client; at most 150 MB (PSS) after 10,000 requests;
where LiteLLM is installed, 30 times its throughput. The proxy under test has a core of its own where there are two;
load, upstream and database share the others.

LiteLLM is measured if QUARTERDECK_LITELLM_PYTHON names the Python of a venv with 'litellm[proxy]' in it.
"""

import contextlib
import json
import os
import re
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.limits import Limit, at_least, at_most, conclude, options
from tests.inference.world import MODEL, World
from tests.servers import running_postgres
from workers.embedded.ports import free_port

FOLDER = Path(__file__).parent
CONNECTIONS = 32
LEAST_SHARE_OF_BARE = 0.5
MOST_ADDED_P50_MS = 1.0
MOST_PSS_MB = 150.0
LEAST_TIMES_LITELLM = 30.0
REQUESTS_BEFORE_PSS = 10_000
START_TIMEOUT_S = 60.0
ROUNDS, ROUND_S = 20, 1.0
"""Many and short: the speed of a shared machine changes from one second to the next, and the shares of single rounds were seen
between 0.38 and 0.76 within one run."""
LITELLM_PYTHON = "QUARTERDECK_LITELLM_PYTHON"


@dataclass
class Contestant:
    name: str
    port: int
    request: Path
    process: subprocess.Popen[bytes]
    rates: list[float] = field(default_factory=list)
    p50s_ms: list[float] = field(default_factory=list)
    requests: int = 0
    errors: int = 0

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def p50_ms(self) -> float:
        return statistics.median(self.p50s_ms)

    def pss_mb(self) -> float:
        rollup = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        match = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        return int(match.group(1)) / 1000 if match else float("nan")


def main() -> int:
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=ROUND_S, help="of load per round and contestant")
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        contestants = _start(stack)
        for contestant in contestants:
            _run(contestant, CONNECTIONS, 1.0)
        for _ in range(chosen.rounds):
            for contestant in contestants:
                contestant.rates.append(_rate(_run(contestant, CONNECTIONS, chosen.seconds)))
            for contestant in contestants:
                contestant.p50s_ms.append(_run(contestant, 1, chosen.seconds / 2)["p50_ms"])
        while (ours := contestants[1]).requests < REQUESTS_BEFORE_PSS:
            _run(ours, CONNECTIONS, 1.0)
        pss_mb = {contestant.name: contestant.pss_mb() for contestant in contestants}
        limits = _limits(contestants, pss_mb)
    _report(contestants, pss_mb)
    figures = [
        {"name": c.name, "rates": c.rates, "p50s_ms": c.p50s_ms, "pss_mb": pss_mb[c.name], "errors": c.errors}
        for c in contestants
    ]
    return conclude({"contestants": figures}, limits, chosen.json)


def _start(stack: contextlib.ExitStack) -> list[Contestant]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (folder / "postgres").mkdir()
    postgres = stack.enter_context(running_postgres(folder / "postgres"))
    database = postgres.create()
    upstream_port = free_port()
    _program(stack, [sys.executable, str(FOLDER / "fixed_upstream.py"), str(upstream_port)], _others(), upstream_port)
    world = World(database.admin)
    world.add_instance(upstream_port)
    world.close()
    environment = {
        "QUARTERDECK_HOME": str(folder / "home"),
        "QUARTERDECK_INSTALLATION_KEY": secrets.token_urlsafe(32),
        "QUARTERDECK_DATABASE_URL_API": database.api,
        "QUARTERDECK_WORKER_STALE_SECONDS": "86400",
        "QUARTERDECK_LOG_LEVEL": "warning",
    }
    upstream = f"http://127.0.0.1:{upstream_port}"
    port = free_port()
    bare = [sys.executable, str(FOLDER / "bare_proxy.py"), str(port), upstream]
    request = _request(folder / "bare.http", "none")
    contestants = [Contestant("bare pass-through", port, request, _program(stack, bare, _own_core(), port))]
    port = free_port()
    process = _program(
        stack, [sys.executable, "-m", "api"], _own_core(), port, {**environment, "QUARTERDECK_API_PORT": str(port)}
    )
    contestants.append(Contestant("quarterdeck", port, _request(folder / "ours.http", world.tenant.api_key), process))
    python = os.environ.get(LITELLM_PYTHON)
    if python:
        contestants.append(_litellm(stack, folder, python, upstream))
    _until_routed(contestants[1])
    return contestants


def _litellm(stack: contextlib.ExitStack, folder: Path, python: str, upstream: str) -> Contestant:
    """Its proxy with one worker and no database: one key, no spend, which favours it."""
    key = f"sk-{secrets.token_urlsafe(24)}"
    config = folder / "litellm.yaml"
    config.write_text(
        f"model_list:\n  - model_name: {MODEL}\n    litellm_params:\n      model: openai/{MODEL}\n"
        f"      api_base: {upstream}/v1\n      api_key: none\n"
    )
    port = free_port()
    program = str(Path(python).parent / "litellm")
    command = [program, "--config", str(config), "--port", str(port), "--host", "127.0.0.1", "--num_workers", "1"]
    process = _program(stack, command, _own_core(), port, {"LITELLM_MASTER_KEY": key})
    return Contestant("litellm", port, _request(folder / "litellm.http", key), process)


def _program(
    stack: contextlib.ExitStack,
    command: list[str],
    cores: set[int],
    port: int,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, cwd=FOLDER.parent)
    stack.callback(_end, process)
    os.sched_setaffinity(process.pid, cores)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{command[1]} did not start")
        time.sleep(0.05)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _until_routed(contestant: Contestant) -> None:
    for _ in range(100):
        if _run(contestant, 1, 0.1)["errors"] == 0:
            contestant.errors = contestant.requests = 0
            return
    raise SystemExit("no request was answered with 200")


def _own_core() -> set[int]:
    return {min(os.sched_getaffinity(0))}


def _others() -> set[int]:
    return (os.sched_getaffinity(0) - _own_core()) or _own_core()


def _request(path: Path, key: str) -> Path:
    content = "Say something that is long enough to look like a question somebody would ask. " * 4
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": 64}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    path.write_bytes(head.encode() + body)
    return path


def _run(contestant: Contestant, connections: int, seconds: float) -> dict[str, Any]:
    """One load of one contestant, from a process of its own."""
    command = [sys.executable, str(FOLDER / "http_load.py"), str(contestant.port), str(connections), str(seconds)]
    process = subprocess.Popen([*command, str(contestant.request)], stdout=subprocess.PIPE)
    os.sched_setaffinity(process.pid, _others())
    output, _ = process.communicate(timeout=seconds + 60)
    figures: dict[str, Any] = json.loads(output)
    contestant.requests += int(figures["requests"])
    contestant.errors += int(figures["errors"])
    return figures


def _rate(figures: dict[str, Any]) -> float:
    return float(figures["requests"]) / float(figures["seconds"])


def _limits(contestants: list[Contestant], pss_mb: Mapping[str, float]) -> list[Limit]:
    bare, ours, *others = contestants
    share = statistics.median(mine / least for mine, least in zip(ours.rates, bare.rates, strict=True))
    added_ms = statistics.median(mine - least for mine, least in zip(ours.p50s_ms, bare.p50s_ms, strict=True))
    limits = [
        at_least("throughput as a share of the bare pass-through", share, LEAST_SHARE_OF_BARE),
        at_most("added p50 at one client (ms)", added_ms, MOST_ADDED_P50_MS),
        at_most("PSS after 10,000 requests (MB)", pss_mb[ours.name], MOST_PSS_MB),
        at_most("failed requests", ours.errors, 0),
    ]
    return limits + [
        at_least(f"throughput in times of {other.name}", ours.rate / other.rate, LEAST_TIMES_LITELLM)
        for other in others
    ]


def _report(contestants: list[Contestant], pss_mb: Mapping[str, float]) -> None:
    print(f"\n{'':24}{'requests/s':>12}{'p50, 1 client':>16}{'PSS':>10}{'errors':>9}")
    for c in contestants:
        print(f"{c.name:24}{c.rate:12,.0f}{c.p50_ms:13.3f} ms{pss_mb[c.name]:7.1f} MB{c.errors:9d}")
    if len(contestants) == 2:
        print(
            f"litellm                 not measured: set {LITELLM_PYTHON} to the Python of a venv with 'litellm[proxy]'"
        )


if __name__ == "__main__":
    sys.exit(main())
