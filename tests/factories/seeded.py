"""A running API on a seeded database, with nobody behind it: no worker, and a Temporal address where nothing listens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from models.repositories.database import Database
from models.repositories.fleet.seeding import Host, seed
from models.settings import Settings
from tests.api.conftest import INSTALLATION_KEY, People, Person, RunningApi, running_api
from tests.factories.rows import Rows
from tests.servers import TestDatabase
from workers.embedded.ports import free_port

LOCAL_ZONE = "this-host"


@dataclass(frozen=True)
class SeededApi:
    api: RunningApi
    people: People
    rows: Rows

    async def call(
        self, method: str, path: str, person: Person, expected: int | None = None, **options: Any
    ) -> httpx.Response:
        """One request with the person's API key; further `headers` are added to it."""
        headers = {**person.bearer, **options.pop("headers", {})}
        response = await self.api.client.request(method, path, headers=headers, **options)
        assert expected is None or response.status_code == expected, f"{response.status_code}: {response.text}"
        return response

    async def introduce(self, person: Person) -> None:
        """The process knows the person's key from now on: a burst of first requests may be told to come back (503)."""
        await self.call("GET", "/operations", person, 200)

    async def deploy(self, person: Person, expected: int = 200, **order: object) -> Any:
        """The answer to an order, as JSON."""
        return (await self.call("POST", "/deployments", person, expected, json=order)).json()


async def seed_catalogue(database: TestDatabase) -> None:
    """The catalogue that every installation starts with; this host has memory for every type of its own."""
    owner = Database(database.owner, pool_size=1)
    async with owner.system() as session:
        await seed(session, Host(LOCAL_ZONE, memory_gb=64))
    await owner.close()


def lonely_settings(database: TestDatabase, home: Path, **more: Any) -> Settings:
    return Settings(
        home=home,
        installation_key=SecretStr(INSTALLATION_KEY),
        database_url_api=SecretStr(database.api),
        **{"temporal_address": f"127.0.0.1:{free_port()}", **more},
    )


@asynccontextmanager
async def seeded_api(database: TestDatabase, home: Path, **settings: Any) -> AsyncIterator[SeededApi]:
    await seed_catalogue(database)
    rows, people = Rows(database), People(database)
    try:
        async with running_api(lonely_settings(database, home, **settings)) as api:
            yield SeededApi(api, people, rows)
    finally:
        people.close()
        rows.close()
