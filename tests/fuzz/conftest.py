"""One process of the API for all that is thrown at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.factories.seeded import seed_catalogue
from tests.fuzz.target import Target, api_process, populate
from tests.fuzz.upstream import model_server
from tests.servers import TestPostgres


@pytest.fixture(scope="session")
async def seeded_database(postgres: TestPostgres):
    database = postgres.create()
    await seed_catalogue(database)
    yield database
    postgres.drop(database)


@pytest.fixture(scope="session")
def target(seeded_database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with model_server() as port:
        member, admin, things = populate(seeded_database, port)
        with api_process(seeded_database, tmp_path_factory.mktemp("api")) as (url, log):
            target = Target(url, member, admin, things, log)
            target.session.trust_env = False
            yield target
            target.session.close()
