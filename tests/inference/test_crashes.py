"""What happens to requests and their records when a process of the API dies or is told to stop."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from models.domain.inference.records import InferenceOutcome, UsageSource
from tests.inference.model_server import endless, model_server, stalling
from tests.inference.running import INSTALLATION_KEY, database_away, recorded, until
from tests.inference.world import MODEL, World
from tests.patience import GIVE_UP_S, OF_A_STACK_S
from tests.servers import TestDatabase, TestPostgres
from workers.embedded.ports import free_port


class ApiProcess:
    """`python -m api` as its own process."""

    def __init__(self, home: Path, database: TestDatabase) -> None:
        self.port = free_port()
        environment = {
            **os.environ,
            "QUARTERDECK_HOME": str(home),
            "QUARTERDECK_INSTALLATION_KEY": INSTALLATION_KEY,
            "QUARTERDECK_DATABASE_URL_API": database.api,
            "QUARTERDECK_API_PORT": str(self.port),
            "QUARTERDECK_LOG_LEVEL": "warning",
        }
        self.process = subprocess.Popen([sys.executable, "-m", "api"], env=environment)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(GIVE_UP_S)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(GIVE_UP_S)


async def answers(client: aiohttp.ClientSession, api: ApiProcess, world: World) -> None:
    """Wait until the process has a route."""
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        with contextlib.suppress(aiohttp.ClientError):
            async with client.get(f"{api.url}/v1/models", headers=world.tenant.headers) as response:
                if response.status == 200 and (await response.json())["data"]:
                    return
        await asyncio.sleep(0.05)
    raise AssertionError("the API process did not answer in time")


@pytest.fixture
def api_processes(tmp_path: Path, database: TestDatabase) -> Iterator[list[ApiProcess]]:
    started: list[ApiProcess] = []
    yield started
    for api in started:
        if api.process.poll() is None:
            api.kill()


async def test_kill_9_in_the_middle_of_streams(
    world: World, database: TestDatabase, tmp_path: Path, api_processes: list[ApiProcess]
) -> None:
    """Every request that reached a model server is in the ledger once, whoever has to write it there."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "12345678"}], "stream": True}
    async with model_server(endless()) as upstream, aiohttp.ClientSession() as client:
        world.add_instance(upstream.port)
        first = ApiProcess(tmp_path, database)
        api_processes.append(first)
        await answers(client, first, world)
        streams = [
            await client.post(f"{first.url}/v1/chat/completions", json=body, headers=world.tenant.headers)
            for _ in range(5)
        ]
        received = [b""] * len(streams)
        for _ in range(100):
            received = [text + await stream.content.readany() for text, stream in zip(received, streams, strict=True)]
        first.kill()
        await until(lambda: upstream.running == 0)
        second = ApiProcess(tmp_path, database)
        api_processes.append(second)
        rows = await recorded(world, 5, OF_A_STACK_S)
        assert second.stop() is not None
        for stream in streams:
            stream.close()
    for row, text in zip(sorted(rows, key=lambda row: row.started_at), received, strict=True):
        assert row.outcome is InferenceOutcome.INTERRUPTED
        assert row.usage_source is UsageSource.ESTIMATED
        assert row.input_tokens == 2
        passed = text.count(b'"word"')
        assert passed - 33 <= row.output_tokens <= passed + 60  # at most 32 chunks behind; the pipes hold some more
        assert row.completed_at > row.started_at
    assert {row.request_id for row in rows} == {stream.headers["x-request-id"] for stream in streams}
    assert list((tmp_path / "journal").rglob("*.log")) == []


async def test_kill_9_while_the_database_is_away(
    world: World, database: TestDatabase, postgres: TestPostgres, tmp_path: Path, api_processes: list[ApiProcess]
) -> None:
    body = {"model": MODEL, "messages": []}
    async with model_server() as upstream, aiohttp.ClientSession() as client:
        world.add_instance(upstream.port)
        first = ApiProcess(tmp_path, database)
        api_processes.append(first)
        await answers(client, first, world)
        with database_away(postgres, database):
            for _ in range(20):
                async with client.post(
                    f"{first.url}/v1/chat/completions", json=body, headers=world.tenant.headers
                ) as response:
                    assert response.status == 200
            first.kill()
        api_processes.append(ApiProcess(tmp_path, database))
        rows = await recorded(world, 20, OF_A_STACK_S)
    assert {row.outcome for row in rows} == {InferenceOutcome.SUCCEEDED}
    assert {row.output_tokens for row in rows} == {3}


async def test_a_graceful_stop_leaves_no_journal(
    world: World, database: TestDatabase, tmp_path: Path, api_processes: list[ApiProcess]
) -> None:
    async with model_server() as upstream, aiohttp.ClientSession() as client:
        world.add_instance(upstream.port)
        api = ApiProcess(tmp_path, database)
        api_processes.append(api)
        await answers(client, api, world)
        async with client.post(
            f"{api.url}/v1/chat/completions", json={"model": MODEL}, headers=world.tenant.headers
        ) as response:
            assert response.status == 200
        api.stop()
    assert len(world.requests()) == 1
    assert list((tmp_path / "journal").iterdir()) == []


async def test_a_stop_in_the_middle_of_a_stream_is_on_record(
    world: World, database: TestDatabase, tmp_path: Path, api_processes: list[ApiProcess]
) -> None:
    """The server's grace is over: the stream is cut, its slot freed, its record written before the process ends."""
    body = {"model": MODEL, "messages": [], "stream": True}
    async with model_server(endless()) as upstream, aiohttp.ClientSession() as client:
        world.add_instance(upstream.port)
        api = ApiProcess(tmp_path, database)
        api_processes.append(api)
        await answers(client, api, world)
        stream = await client.post(f"{api.url}/v1/chat/completions", json=body, headers=world.tenant.headers)
        await stream.content.readany()
        await asyncio.to_thread(api.stop)
        await until(lambda: upstream.running == 0)
        stream.close()
    [row] = world.requests()
    assert row.outcome is InferenceOutcome.INTERRUPTED
    assert row.output_tokens > 1


async def test_a_call_that_outlasts_a_stop_is_told_so(
    world: World, database: TestDatabase, tmp_path: Path, api_processes: list[ApiProcess]
) -> None:
    async with model_server(stalling(0)) as upstream, aiohttp.ClientSession() as client:
        world.add_instance(upstream.port)
        api = ApiProcess(tmp_path, database)
        api_processes.append(api)
        await answers(client, api, world)
        body = {"model": MODEL, "messages": []}
        call = asyncio.create_task(
            client.post(f"{api.url}/v1/chat/completions", json=body, headers=world.tenant.headers)
        )
        await until(lambda: upstream.running == 1)
        await asyncio.to_thread(api.stop)
        async with await call as response:
            assert response.status == 503
            assert response.headers["retry-after"] == "1"
            error = (await response.json())["error"]
        assert (error["code"], error["type"]) == ("service_unavailable", "server_error")
    row = (await recorded(world, 1))[0]
    assert row.outcome is InferenceOutcome.INTERRUPTED
