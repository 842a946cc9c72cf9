"""A running API in this process on a real database, people in it, and a server on loopback for what streams."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import psycopg
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI
from pydantic import SecretStr
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, SQLModel

from api.__main__ import ApiServer
from api.app import create_app
from api.composition import build_state
from api.http.protocol import HttpProtocol
from api.registry import SOCKETS
from api.state import AppState
from models.domain.identity.passwords import hash_password
from models.domain.identity.roles import Role
from models.repositories.urls import driver_url
from models.settings import Settings
from models.tables.identity import Membership
from tests.factories import identity
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase

if TYPE_CHECKING:
    from tests.factories.seeded import SeededApi

INSTALLATION_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
PASSWORD = "correct horse battery staple"
PASSWORD_HASH = hash_password(PASSWORD)


@dataclass(frozen=True)
class Person:
    """A user with one organization, a role there, and an API key for it."""

    user_id: UUID
    organization_id: UUID
    username: str
    api_key_id: UUID
    api_key: str = field(repr=False)

    @property
    def email(self) -> str:
        return f"{self.username}@example.org"

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.api_key}"}


class People:
    """Makes people, as the owner of the database."""

    def __init__(self, database: TestDatabase) -> None:
        self._url = database.owner
        self._engine = create_engine(driver_url(database.owner), pool_pre_ping=True)
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def execute(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        if self._connection is None:
            self._connection = psycopg.connect(self._url, autocommit=True)
        cursor = self._connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        self._engine.dispose()
        if self._connection is not None:
            self._connection.close()

    def add(self, *rows: SQLModel) -> None:
        """In this order: a row may refer to one before it. Raises what the driver raised where the database refuses one."""
        with Session(self._engine, expire_on_commit=False) as session:
            for row in rows:
                session.add(row)
                try:
                    session.flush()
                except IntegrityError as error:
                    raise (error.orig or error) from None
            session.commit()

    def organization(self, name: str = "Acme") -> UUID:
        row = identity.organization(name)
        self.add(row)
        return row.id

    def person(
        self,
        role: Role = Role.OWNER,
        *,
        organization_id: UUID | None = None,
        is_superadmin: bool = False,
        password_hash: str | None = PASSWORD_HASH,
        scopes: Sequence[str] = (),
    ) -> Person:
        user = identity.user(password_hash=password_hash, is_superadmin=is_superadmin)
        organization_id = organization_id or self.organization()
        key, plaintext = identity.api_key(organization_id, user.id, scopes=scopes)
        self.add(user, Membership(organization_id=organization_id, user_id=user.id, role=role), key)
        return Person(user.id, organization_id, user.username, key.id, plaintext)

    def key(
        self, organization_id: UUID, user_id: UUID, *, name: str = "first", scopes: Sequence[str] = ()
    ) -> tuple[UUID, str]:
        """The id of a new API key, and the key."""
        key, plaintext = identity.api_key(organization_id, user_id, name=name, scopes=scopes)
        self.add(key)
        return key.id, plaintext


@pytest.fixture(scope="module")
async def seeded(module_database: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SeededApi]:
    """One for all tests of a module. Nothing listens where Temporal should be, and no worker runs."""
    from tests.factories.seeded import seeded_api  # noqa: PLC0415  (it imports this module)

    async with seeded_api(module_database, tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture(scope="module")
def url(seeded: SeededApi, module_database: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same database behind real sockets: `python -m api`."""
    from tests.factories.api_process import api_process  # noqa: PLC0415  (as above)

    with api_process(module_database, tmp_path_factory.mktemp("process")) as (url, _log):
        yield url


@pytest.fixture
def person(seeded: SeededApi) -> Person:
    """An owner of an organization of their own."""
    return seeded.people.person()


@dataclass(frozen=True)
class RunningApi:
    app: FastAPI
    state: AppState
    client: httpx.AsyncClient


@pytest.fixture
def people(database: TestDatabase) -> Iterator[People]:
    people = People(database)
    yield people
    people.close()


@pytest.fixture
def api_settings(database: TestDatabase, tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path,
        installation_key=SecretStr(INSTALLATION_KEY),
        database_url_api=SecretStr(database.api),
    )


@pytest.fixture
async def api(api_settings: Settings) -> AsyncIterator[RunningApi]:
    """The whole application, called without a network."""
    async with running_api(api_settings) as running:
        yield running


@asynccontextmanager
async def running_api(settings: Settings) -> AsyncIterator[RunningApi]:
    state = build_state(settings)
    app = create_app(state)
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield RunningApi(app, state, client)


async def session_of(api: RunningApi, person: Person) -> dict[str, str]:
    """The headers of the person, signed in with a password."""
    answer = await api.client.post("/auth/login", json={"email": person.email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    api.client.cookies.clear()
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


def client_of(app: FastAPI) -> httpx.AsyncClient:
    """A new client: its cookies are its own."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver")


@dataclass(frozen=True)
class Served:
    """The same application behind real sockets: what streams and what stops can only be seen there."""

    url: str
    state: AppState
    server: ApiServer


class ServerInTests(ApiServer):
    """Leaves the garbage collector of the test process as it is."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await uvicorn.Server.startup(self, sockets)


@asynccontextmanager
async def served(settings: Settings, *, sockets: Sequence[APIRouter] = ()) -> AsyncIterator[Served]:
    """uvicorn on a free loopback port, in this process; with these sockets, of a family of their own, beside those of the product."""
    state = build_state(settings)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            create_app(state, sockets=(*SOCKETS, *(("tests", each) for each in sockets))),
            http=HttpProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        server = ServerInTests(config, state)
        task = asyncio.create_task(server.serve([bound]))
        try:
            async with asyncio.timeout(GIVE_UP_S):
                while not server.started:
                    await asyncio.sleep(0.01)
            yield Served(f"http://127.0.0.1:{bound.getsockname()[1]}", state, server)
        finally:
            server.should_exit = True
            await task
