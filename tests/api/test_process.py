"""`python -m api` as a process: it starts with nothing but settings, and ends when it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from activities.runtime.line_limit import PER_MINUTE
from tests.api.conftest import INSTALLATION_KEY, People
from tests.api.following import follower
from tests.api.wire import raw
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase
from workers.embedded.ports import free_port

ROOT = Path(__file__).parents[2]
ADMINS = "postgresql://admin:unguessable@127.0.0.1:1/deck"
IN_PRODUCTION = {
    "environment": "production",
    "temporal_address": "127.0.0.1:1",
    "trusted_proxies": "127.0.0.1",
    "database_url_api": "postgresql://quarterdeck_api:unguessable@127.0.0.1:1/deck",
}


def environment(tmp_path: Path, **settings: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "QUARTERDECK_HOME": str(tmp_path),
        "QUARTERDECK_INSTALLATION_KEY": INSTALLATION_KEY,
        **{f"QUARTERDECK_{name.upper()}": value for name, value in settings.items()},
    }


@pytest.fixture
def running(tmp_path: Path, database: TestDatabase) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "api"],
        cwd=ROOT,
        env=environment(tmp_path, database_url_api=database.api, api_port=str(port)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(GIVE_UP_S)
        assert process.stdout is not None
        process.stdout.close()


async def healthy(url: str, within_s: float = GIVE_UP_S) -> None:
    deadline = time.monotonic() + within_s
    async with httpx.AsyncClient(trust_env=False) as client:
        while time.monotonic() < deadline:
            try:
                if (await client.get(f"{url}/health")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)
    raise AssertionError("the API did not become healthy")


async def test_it_answers_and_a_stop_ends_open_streams(running: tuple[subprocess.Popen[bytes], str], people: People):
    process, url = running
    await healthy(url)
    person = people.person()
    async with follower(f"{url}/events/stream", person.bearer) as reader:
        assert (await reader.next()) is not None
        process.terminate()
        assert await reader.until_end() == []
    code = await asyncio.to_thread(process.wait, GIVE_UP_S)
    assert code == -signal.SIGTERM  # uvicorn hands the signal on when everything has ended
    assert process.stdout is not None
    log = process.stdout.read().decode()
    assert person.api_key not in log
    assert "Traceback" not in log
    assert "cut off" not in log, "the stream has an end of its own, before the server's patience has"


async def test_what_is_no_http_costs_the_log_ten_lines_a_minute(running: tuple[subprocess.Popen[bytes], str]):
    process, url = running
    await healthy(url)
    for number in range(40):
        status, _ = await raw(url, b"BREW /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number)
        assert status == 400
        status, _ = await raw(url, b"GET /version HTTP/1.1\r\nhost: x\r\nhost: %d\r\n\r\n" % number)
        assert status == 400
    process.terminate()
    assert process.stdout is not None
    lines = (await asyncio.to_thread(process.stdout.read)).decode().splitlines()
    assert len([line for line in lines if "Invalid HTTP request received" in line]) == PER_MINUTE
    assert len(lines) < 3 * PER_MINUTE, lines


@pytest.mark.parametrize(
    ("arguments", "settings", "line"),
    [
        ([], {"installation_key": "AAAA"}, "QUARTERDECK_INSTALLATION_KEY"),
        ([], {"api_port": "0"}, "QUARTERDECK_API_PORT"),
        ([], {}, "QUARTERDECK_DATABASE_URL"),
        (
            [],
            {**IN_PRODUCTION, "database_url": ADMINS},
            "QUARTERDECK_DATABASE_URL is for `migrate` and `bootstrap` alone",
        ),
        (["--port", "1"], {}, "takes no arguments"),
    ],
)
def test_what_cannot_start_says_so_in_one_line(
    tmp_path: Path, arguments: list[str], settings: dict[str, str], line: str
):
    result = subprocess.run(
        [sys.executable, "-m", "api", *arguments],
        cwd=ROOT,
        env=environment(tmp_path, **settings),
        capture_output=True,
        text=True,
        timeout=GIVE_UP_S,
        check=False,
    )
    assert result.returncode == 2
    assert line in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
