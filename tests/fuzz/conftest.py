"""One process of the API for all that is thrown at it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.factories.api_process import api_process
from tests.factories.seeded import seed_catalogue
from tests.factories.unstarted import unstarted_app
from tests.fuzz.changed import EXPLORES, keep
from tests.fuzz.target import Target, populate
from tests.fuzz.upstream import model_server
from tests.servers import TestDatabase, TestPostgres

NO_DISPATCHER = "api.pulse messages are stuck in the outbox"
"""True after ten minutes: no worker is there to take up what is ordered here."""


@pytest.fixture(scope="session")
async def fuzzed_database(postgres: TestPostgres) -> AsyncIterator[TestDatabase]:
    database = postgres.create()
    await seed_catalogue(database)
    yield database
    postgres.drop(database)


@pytest.fixture(scope="session")
def target(fuzzed_database: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """At its end nothing in the log of the process may speak of a surprise."""
    with model_server() as port:
        people, things = populate(fuzzed_database, port)
        with api_process(fuzzed_database, tmp_path_factory.mktemp("api")) as (url, log):
            target = Target(url, people, things)
            target.session.trust_env = False
            yield target
            target.session.close()
            lines = log.read_text().splitlines()
    surprises = [line for line in lines if " ERROR " in line or "Traceback" in line]
    assert [line for line in surprises if NO_DISPATCHER not in line] == []


def pytest_sessionfinish(exitstatus: int) -> None:
    if EXPLORES and exitstatus == 0:
        keep(unstarted_app())
