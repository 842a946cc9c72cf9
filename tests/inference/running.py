"""The API of one test on a real port, and waiting for what it does in its own time."""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import uvicorn

from api.app import create_app
from api.composition import build_state
from api.inference.composition import Inference
from api.state import AppState
from models.settings import Settings
from models.tables.inference import InferenceRequest
from tests.inference.model_server import ModelServer, Script, model_server
from tests.inference.world import MODEL, World
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase, TestPostgres

INSTALLATION_KEY = secrets.token_urlsafe(32)


def settings_for(database: TestDatabase, home: Path, **more: Any) -> Settings:
    return Settings(
        home=home,
        installation_key=INSTALLATION_KEY,
        database_url_api=database.api,
        **more,
    )


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Api:
    """The running API, and a client for it."""

    def __init__(self, state: AppState, server: Server, url: str, client: aiohttp.ClientSession) -> None:
        self.state = state
        self.server = server
        self.url = url
        self.client = client

    def post(self, path: str, **kwargs: Any) -> Any:
        return self.client.post(f"{self.url}{path}", **kwargs)

    def chat(self, headers: dict[str, str], *, model: str = MODEL, **body: Any) -> Any:
        body = {"model": model, "messages": [{"role": "user", "content": "12345678"}], **body}
        return self.post("/v1/chat/completions", json=body, headers=headers)


@contextlib.asynccontextmanager
async def serving(settings: Settings, http: Any = "httptools") -> AsyncIterator[Api]:
    listener = socket.create_server(("127.0.0.1", 0))
    state = build_state(settings)
    config = uvicorn.Config(
        create_app(state), http=http, ws="none", access_log=False, log_config=None, timeout_graceful_shutdown=1
    )
    server = Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        await until(lambda: server.started)
        async with aiohttp.ClientSession() as client:
            yield Api(state, server, f"http://127.0.0.1:{listener.getsockname()[1]}", client)
    finally:
        server.should_exit = True
        await task
        listener.close()


async def routable(api: Api, world: World, count: int) -> None:
    """Wait until so many instances of the first tenant take requests."""
    knowledge = api.state.of(Inference)._knowledge

    def is_known() -> bool:
        candidates = knowledge.routes().candidates(world.tenant.organization_id, MODEL, time.monotonic())
        return len(candidates) == count

    await until(is_known)


@contextlib.asynccontextmanager
async def asked_first(api: Api, world: World, script: Script) -> AsyncIterator[tuple[ModelServer, ModelServer]]:
    """Two instances that take requests: one that follows the script and is asked first, and one that answers."""
    async with model_server(script) as first, model_server() as other:
        world.add_instance(first.port, queue_depth=0)
        world.add_instance(other.port, queue_depth=9)
        await routable(api, world, 2)
        yield first, other


async def until(is_true: Callable[[], bool], timeout_s: float = GIVE_UP_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)


async def recorded(world: World, count: int, timeout_s: float = GIVE_UP_S) -> list[InferenceRequest]:
    """The ledger, once it has so many rows."""
    await until(lambda: len(world.requests()) >= count, timeout_s)
    rows = world.requests()
    assert len(rows) == count
    return rows


@contextlib.contextmanager
def database_away(postgres: TestPostgres, database: TestDatabase) -> Iterator[None]:
    """Nobody can connect to the test's database, and whoever was connected is thrown out."""
    admin = postgres.server.url("postgres")

    def allow(is_allowed: bool) -> None:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS {str(is_allowed).lower()}')
            if not is_allowed:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database.name]
                )

    allow(False)
    try:
        yield
    finally:
        allow(True)
