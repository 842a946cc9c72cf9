"""The real servers that tests run against: started once per session, on free loopback ports, gone afterwards."""

import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from models.migrations import upgrade
from models.settings.derived import OWNER_ROLE, DatabaseRole, as_owner, as_role
from tests.embedded.driver import forget
from tests.patience import GIVE_UP_S
from workers.embedded import postgres, processes
from workers.embedded.ports import free_port
from workers.embedded.postgres import PostgresServer
from workers.embedded.processes import ProcessSpec
from workers.embedded.temporal import TemporalServer
from workers.migrate import prepare_database

TEST_CODEC_KEY = b"a key that only tests use: 32 by"
STARTUP_TIMEOUT_S = GIVE_UP_S
TEMPLATE = "quarterdeck_template"
MIGRATOR = "quarterdeck_migrator"
"""Logs in, and has no right to anything before it becomes the owner role. No superuser: no test has more rights than it names."""
PER_TEST_CLUSTER = {
    "fsync": "off", "max_wal_size": "64MB", "max_connections": "250", "scram_iterations": "1", "authentication_timeout": "5s",
}  # fmt: skip
"""It lies in memory, where its log is to stay small. A test database need not survive a power cut; it does survive a kill -9. Thousands of sign-ins with passwords that nobody could
guess need not be slow, and one that a test broke off half-way must not hold up the end of its database for a minute.
"""


@dataclass(frozen=True)
class TestDatabase:
    """A migrated database of its own.

    `worker` and `api` are the URLs of those roles, `migrator` is that of a member of the owner role who has to become it first,
    `owner` the same one having done so, `admin` a superuser's.
    """

    __test__ = False

    name: str
    admin: str = field(repr=False)
    migrator: str = field(repr=False)
    owner: str = field(repr=False)
    worker: str = field(repr=False)
    api: str = field(repr=False)


class TestPostgres:
    """A running server with a migrated template, from which a database costs some tens of milliseconds."""

    __test__ = False

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._passwords = {role: secrets.token_urlsafe(16) for role in DatabaseRole}
        self._numbers = itertools.count(1)
        self._migrators = secrets.token_urlsafe(16)
        server.ensure_database(TEMPLATE)
        prepare_database(server.url(TEMPLATE), self._passwords)
        with self._connect() as admin:
            admin.execute(
                sql.SQL("CREATE ROLE {} LOGIN NOINHERIT IN ROLE {} PASSWORD {}").format(
                    sql.Identifier(MIGRATOR), sql.Identifier(OWNER_ROLE), sql.Literal(self._migrators)
                )
            )
            _run(admin, "GRANT CONNECT ON DATABASE {} TO {}", TEMPLATE, MIGRATOR)
        upgrade(as_owner(self._migrators_url(TEMPLATE)))

    def create(self) -> TestDatabase:
        """A new database, as the migrations leave it."""
        name = f"test_{next(self._numbers)}"
        with self._connect() as admin:
            # by files, which is quicker than through the log where nothing is synced to the disk
            _run(admin, "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy OWNER {}", name, TEMPLATE, OWNER_ROLE)
            _run(admin, "REVOKE ALL ON DATABASE {} FROM PUBLIC", name)
            _run(admin, "GRANT CONNECT ON DATABASE {} TO {}, {}, {}", name, MIGRATOR, *DatabaseRole)
        return self._of(name)

    def create_at(self, revision: str) -> TestDatabase:
        """A new database as it was at this revision: for what the next one makes of the rows that are there."""
        name = f"test_{next(self._numbers)}"
        self.server.ensure_database(name)
        prepare_database(self.server.url(name), self._passwords)
        with self._connect() as admin:
            _run(admin, "GRANT CONNECT ON DATABASE {} TO {}", name, MIGRATOR)
        database = self._of(name)
        upgrade(database.owner, revision)
        return database

    def _of(self, name: str) -> TestDatabase:
        url = self.server.url(name)
        urls = {role: as_role(url, role, password) for role, password in self._passwords.items()}
        migrator = self._migrators_url(name)
        return TestDatabase(name, url, migrator, as_owner(migrator), urls[DatabaseRole.WORKER], urls[DatabaseRole.API])

    def drop(self, database: TestDatabase) -> None:
        with self._connect() as admin:
            _run(admin, "DROP DATABASE IF EXISTS {} WITH (FORCE)", database.name)

    def _migrators_url(self, database: str) -> str:
        return self.server.url(database, MIGRATOR, self._migrators)

    def _connect(self) -> psycopg.Connection[TupleRow]:
        return psycopg.connect(self.server.url("postgres"), autocommit=True)


def _run(connection: psycopg.Connection[TupleRow], statement: LiteralString, *names: str) -> None:
    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def running(spec: ProcessSpec, is_ready: Callable[[], bool]) -> Iterator[None]:
    """The program runs and is ready inside the block, and is gone after it, whatever happens there."""
    process = processes.spawn(spec)
    try:
        processes.wait_until_ready(process, spec, is_ready, STARTUP_TIMEOUT_S)
        yield
    finally:
        processes.stop(process, spec)


@contextmanager
def running_postgres(home: Path) -> Iterator[TestPostgres]:
    server = postgres.prepare(home, PER_TEST_CLUSTER)
    try:
        server.before_start()
        with running(server.process(home / "postgres.log"), server.is_ready):
            yield TestPostgres(server)
    finally:
        forget(home)  # for root it may lie elsewhere than below `home`


@contextmanager
def running_temporal(home: Path, *, dynamic_values: tuple[str, ...] = ()) -> Iterator[TemporalServer]:
    server = TemporalServer(port=free_port(), ui_port=free_port(), dynamic_values=dynamic_values)
    with running(server.process(home / "temporal.log", home), server.is_ready):
        yield server
