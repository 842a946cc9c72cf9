"""What keeps a worker from starting is one line and exit 2; a namespace belongs to one installation."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import UpdateNamespaceInfo
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    RegisterNamespaceRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from activities.runtime.line_limit import PER_MINUTE
from models.base.ids import new_id
from models.contracts.task_queues import TaskQueue
from tests.embedded.driver import command, environment, wait_for
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase
from workers import namespace
from workers.embedded.errors import StartError
from workers.embedded.home import ensure_key, open_home
from workers.embedded.ports import free_port
from workers.embedded.temporal import TemporalServer
from workers.namespace import OWNER_KEY, claim_namespace

DAY = Duration(seconds=86_400)


@pytest.fixture
async def client(temporal_dev: TemporalServer) -> Client:
    """Of a namespace that nobody else uses."""
    name = f"of-one-test-{new_id()}"
    client = await Client.connect(temporal_dev.address, namespace=name)
    request = RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=DAY)
    await client.workflow_service.register_namespace(request)
    return client


async def data_of(client: Client) -> dict[str, str]:
    answer = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    return dict(answer.namespace_info.data)


def refusing(client: Client, monkeypatch: pytest.MonkeyPatch, status: RPCStatusCode, *calls: str) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise RPCError("you may not", status, b"")

    for call in calls:
        monkeypatch.setattr(client.workflow_service, call, refuse)


async def test_the_first_claims_and_comes_back_and_another_is_refused(client: Client) -> None:
    first, other = new_id(), new_id()
    info = UpdateNamespaceInfo(data={"team": "platform"})
    await client.workflow_service.update_namespace(UpdateNamespaceRequest(namespace=client.namespace, update_info=info))
    await claim_namespace(client, first, settle_s=0)
    await claim_namespace(client, first, settle_s=0)
    with pytest.raises(StartError, match=f"belongs to another installation .{first}.*QUARTERDECK_TEMPORAL_NAMESPACE"):
        await claim_namespace(client, other, settle_s=0)
    assert await data_of(client) == {OWNER_KEY: str(first), "team": "platform"}


async def test_of_two_that_start_together_one_goes_on(client: Client) -> None:
    both = [new_id(), new_id()]
    ends = await asyncio.gather(*(claim_namespace(client, one, settle_s=0.5) for one in both), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["NoneType", "StartError"]
    winner = both[[end is None for end in ends].index(True)]
    assert (await data_of(client))[OWNER_KEY] == str(winner)


@pytest.mark.parametrize("call", ["update_namespace", "describe_namespace"])
async def test_where_it_may_not_be_written_a_warning_remains(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    refusing(client, monkeypatch, RPCStatusCode.PERMISSION_DENIED, call)
    with caplog.at_level(logging.WARNING, namespace.__name__):
        await claim_namespace(client, new_id(), settle_s=0)
    assert "no other installation" in caplog.text


async def test_a_namespace_that_does_not_exist_is_named(temporal_dev: TemporalServer) -> None:
    nowhere = await Client.connect(temporal_dev.address, namespace="nowhere")
    with pytest.raises(StartError, match="no Temporal namespace nowhere"):
        await claim_namespace(nowhere, new_id(), settle_s=0)


def worker(home: Path, temporal: str, database_url: str, *arguments: str, **settings: str) -> list[str]:
    """The lines on standard error of a worker that does not start."""
    ensure_key(open_home(home))
    env = environment(
        home,
        QUARTERDECK_TEMPORAL_ADDRESS=temporal,
        QUARTERDECK_DATABASE_URL_WORKER=database_url,
        **{f"QUARTERDECK_{name.upper()}": value for name, value in settings.items()},
    )
    result = command(env, "worker", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    return [line for line in result.stderr.splitlines() if " INFO " not in line]


def test_a_provider_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    lines = worker(tmp_path, "127.0.0.1:1", "postgresql://x:y@127.0.0.1:1/z", "--provider", "bogus")
    assert lines == ["quarterdeck: no such queue or provider: bogus; known: orchestration, records, local, mock"]


def test_in_production_a_worker_is_not_given_the_way_to_everything(tmp_path: Path) -> None:
    url = "postgresql://x:unguessable@127.0.0.1:1/z"
    key = "Zm9yIHRlc3RzIG9ubHk6IDMyIGJ5dGVzIG9mIGtleSE"
    lines = worker(tmp_path, "127.0.0.1:1", url, environment="production", installation_key=key, DATABASE_URL=url)
    assert lines == [
        "quarterdeck: QUARTERDECK_DATABASE_URL is for `migrate` and `bootstrap` alone: start this process without it"
    ]


def test_a_temporal_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    lines = worker(tmp_path, address, "postgresql://x:y@127.0.0.1:1/z")
    assert lines == [f"quarterdeck: Temporal at {address} cannot be reached; check QUARTERDECK_TEMPORAL_ADDRESS"]


def test_a_temporal_that_never_answers_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        lines = worker(tmp_path, address, "postgresql://x:y@127.0.0.1:1/z")
    assert lines == [f"quarterdeck: Temporal at {address} cannot be reached; check QUARTERDECK_TEMPORAL_ADDRESS"]


async def test_a_worker_in_the_namespace_of_another_installation_does_not_start(
    tmp_path: Path, client: Client, temporal_dev: TemporalServer, database: TestDatabase
) -> None:
    owner = new_id()
    await claim_namespace(client, owner, settle_s=0)
    with psycopg.connect(database.owner) as connection:
        connection.execute("INSERT INTO installation (id) VALUES (%s)", (new_id(),))
    lines = await asyncio.to_thread(
        worker, tmp_path, temporal_dev.address, database.worker, temporal_namespace=client.namespace
    )
    assert len(lines) == 1
    assert f"belongs to another installation ({owner})" in lines[0]
    assert "QUARTERDECK_TEMPORAL_NAMESPACE" in lines[0]


@contextmanager
def running_worker(env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "workers", "worker"], env=env, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait(GIVE_UP_S)


async def test_what_strangers_send_costs_a_workers_log_ten_lines_a_minute(
    tmp_path: Path, client: Client, temporal_dev: TemporalServer, database: TestDatabase
) -> None:
    ensure_key(open_home(tmp_path))
    env = environment(
        tmp_path,
        QUARTERDECK_TEMPORAL_ADDRESS=temporal_dev.address,
        QUARTERDECK_TEMPORAL_NAMESPACE=client.namespace,
        QUARTERDECK_DATABASE_URL_WORKER=database.worker,
    )
    log = tmp_path / "worker.log"
    with psycopg.connect(database.owner) as connection:
        connection.execute("INSERT INTO installation (id) VALUES (%s)", (new_id(),))
    with running_worker(env, log):
        await asyncio.to_thread(wait_for, lambda: " serving " in log.read_text(), "the start")
        for number in range(40):  # in clear, and each under an id of its own
            with pytest.raises(WorkflowFailureError):
                await client.execute_workflow(
                    "Sweeper", {"n": number}, id=f"sweeper/{new_id()}", task_queue=TaskQueue.ORCHESTRATION
                )
        assert log.read_text().count("a payload for sweeper/") == PER_MINUTE


def test_a_worker_waits_for_its_database_and_can_be_stopped_meanwhile(
    tmp_path: Path, temporal_dev: TemporalServer
) -> None:
    ensure_key(open_home(tmp_path))
    env = environment(
        tmp_path,
        QUARTERDECK_TEMPORAL_ADDRESS=temporal_dev.address,
        QUARTERDECK_DATABASE_URL_WORKER=f"postgresql://x:y@127.0.0.1:{free_port()}/z",
    )
    log = tmp_path / "worker.log"
    with running_worker(env, log) as process:
        wait_for(lambda: "waiting for the database" in log.read_text(), "the waiting")
        process.terminate()
        assert process.wait(GIVE_UP_S) == 0
    assert "Traceback" not in log.read_text()
