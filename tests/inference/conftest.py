"""Real PostgreSQL behind the API, scripted model servers before it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from models.settings import Settings
from tests.inference.model_server import ModelServer, model_server
from tests.inference.running import Api, routable, serving, settings_for
from tests.inference.world import World
from tests.servers import TestDatabase


@pytest.fixture
def world(database: TestDatabase) -> Iterator[World]:
    world = World(database.admin)
    yield world
    world.close()


@pytest.fixture
def settings(database: TestDatabase, tmp_path: Path) -> Settings:
    return settings_for(database, tmp_path)


@pytest.fixture
async def api(settings: Settings, world: World) -> AsyncIterator[Api]:
    async with serving(settings) as api:
        yield api


@pytest.fixture
async def upstream(world: World, api: Api) -> AsyncIterator[ModelServer]:
    """A model server that is one ready instance of the first tenant, routable by now."""
    async with model_server() as server:
        world.add_instance(server.port)
        await routable(api, world, 1)
        yield server
