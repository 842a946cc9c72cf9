"""The servers that every other test stands on."""

import psycopg
import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from models.settings.derived import OWNER_ROLE, DatabaseRole
from tests.servers import MIGRATOR, TestDatabase, TestPostgres
from workers.embedded.temporal import SEARCH_ATTRIBUTES, TemporalServer


def test_a_database_has_pgvector_and_no_superuser_among_its_roles(database: TestDatabase) -> None:
    with psycopg.connect(database.admin) as connection:
        assert connection.execute("SELECT '[1,2,3]'::vector <-> '[1,2,5]'::vector").fetchone() == (2.0,)
        roles = connection.execute(
            "SELECT rolname, rolsuper, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname LIKE %s",
            ("quarterdeck_%",),
        ).fetchall()
    assert sorted(roles) == sorted(
        [(OWNER_ROLE, False, False, False), *((role, False, False, True) for role in (MIGRATOR, *DatabaseRole))]
    )


@pytest.mark.parametrize(
    ("role", "logged_in", "current"),
    [
        ("migrator", MIGRATOR, MIGRATOR),
        ("owner", MIGRATOR, OWNER_ROLE),
        *((role.name.lower(), role.value, role.value) for role in DatabaseRole),
    ],
)
def test_each_url_becomes_its_role(database: TestDatabase, role: str, logged_in: str, current: str) -> None:
    with psycopg.connect(getattr(database, role)) as connection:
        assert connection.execute("SELECT session_user, current_user").fetchone() == (logged_in, current)


def test_a_wrong_password_is_refused(database: TestDatabase, postgres: TestPostgres) -> None:
    wrong = postgres.server.url(database.name, password="wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_databases_share_nothing(postgres: TestPostgres) -> None:
    one, other = postgres.create(), postgres.create()
    try:
        with psycopg.connect(one.owner) as connection:
            connection.execute("CREATE TABLE only_here ()")
        with psycopg.connect(other.owner) as connection:
            assert connection.execute("SELECT to_regclass('only_here')").fetchone() == (None,)
    finally:
        postgres.drop(one)
        postgres.drop(other)


async def test_the_development_server_knows_our_search_attributes(temporal_dev: TemporalServer) -> None:
    client = await Client.connect(temporal_dev.address)
    for name in SEARCH_ATTRIBUTES:
        assert await client.count_workflows(f"{name} = 'x'") is not None


async def test_the_time_skipping_server_skips(temporal_time_skipping: WorkflowEnvironment) -> None:
    before = await temporal_time_skipping.get_current_time()
    await temporal_time_skipping.sleep(86_400)
    assert (await temporal_time_skipping.get_current_time() - before).total_seconds() >= 86_400
