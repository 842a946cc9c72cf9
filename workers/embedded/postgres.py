"""The embedded PostgreSQL server: one data directory with its port and superuser password, remembered beside it."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from psycopg import sql

from models.settings.derived import EMBEDDED_DATABASE, EMBEDDED_SUPERUSER, embedded_url
from workers.embedded import postgres_files as files
from workers.embedded import postgres_place, postgres_program
from workers.embedded.account import Account, account_for_postgres
from workers.embedded.errors import StartError
from workers.embedded.intact import refuse_lost_database, refuse_missing_data
from workers.embedded.ports import free_port, is_free
from workers.embedded.processes import ProcessSpec, end

IMMEDIATE_SHUTDOWN_S = 3.0


@dataclass(frozen=True)
class PostgresServer:
    """A prepared server. `folder` holds `data`; everything in it belongs to `account`."""

    tree: Path
    folder: Path
    account: Account | None
    port: int
    password: str = field(repr=False)
    overrides: Mapping[str, str] = field(default_factory=dict)

    def url(
        self, database: str = EMBEDDED_DATABASE, user: str = EMBEDDED_SUPERUSER, password: str | None = None
    ) -> str:
        """A connection URL. It holds a password: never log it."""
        return embedded_url(self.port, password or self.password, database=database, user=user)

    def process(self, log: Path) -> ProcessSpec:
        """How to run it. SIGINT is PostgreSQL's fast shutdown: open sessions are ended, nothing is lost."""
        return ProcessSpec(
            name="postgres",
            argv=(str(self.tree / "bin" / "postgres"), "-D", str(self.folder / "data")),
            log=log,
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PGTZ": "UTC"},
            account=self.account,
            stop_signal=signal.SIGINT,
            stop_timeout_s=2.5,
        )

    def before_start(self) -> None:
        """Write the configuration, and end or forget what an earlier run left behind. Call it before every start."""
        files.write_configuration(self.folder / "data", self.account, self.port, self.overrides)
        _clear_stale_pid_file(self.folder / "data")

    def is_ready(self) -> bool:
        """Whether it answers a query."""
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=2) as connection:
                return connection.execute("SELECT 1").fetchone() is not None
        except psycopg.Error:  # of any kind: on a full disk the simplest query can fail in many ways
            return False

    def ensure_database(self, database: str = EMBEDDED_DATABASE) -> None:
        """The database is there, empty at first. `migrate` makes the rest."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))


def prepare(home: Path, overrides: Mapping[str, str] | None = None) -> PostgresServer:
    """The server of this home, initialised at the first call. `<home>/postgres.json` (0600) remembers it.

    Raises StartError.
    """
    account = account_for_postgres()
    record = postgres_place.read_record(home)
    if record is None:
        refuse_lost_database(home)
        record = postgres_place.new_record(home, account)
    postgres_place.refuse_elsewhere(home, record, account)
    folder = postgres_place.folder_of(home, record)
    refuse_missing_data(home, record)
    tree = postgres_program.runnable_tree(account)
    if folder.parent == postgres_program.REACHABLE_ROOT:
        postgres_program.make_reachable_root()
    postgres_place.write_record(home, record)
    postgres_place.claim(home, record)
    _clear_stale_pid_file(folder / "data")
    if account is not None:
        _take_over(folder, account)
    files.make_private_folder(folder, account)
    if not (folder / "data").exists():
        files.initialise(tree, folder, account, record.password)
    record = replace(record, port=record.port if is_free(record.port) else free_port(), is_initialised=True)
    postgres_place.write_record(home, record)
    return PostgresServer(tree, folder, account, record.port, record.password, overrides or {})


def _take_over(folder: Path, account: Account) -> None:
    """Raises StartError, also where root may not do it: in a container without CAP_CHOWN, on a network's file system."""
    try:
        files.adopt(folder, account)
    except OSError as error:
        raise StartError(f"cannot give {folder} to PostgreSQL's user: {error.strerror}") from None


def _clear_stale_pid_file(data: Path) -> None:
    """After a kill -9 or a power cut the pid in `postmaster.pid` may be anybody's: PostgreSQL would refuse to start.

    A server of this very directory that still runs (its supervisor was killed) is ended; another process is left alone.
    """
    server = postgres_place.server_of(data)
    if server is None or not end(server, signal.SIGINT, IMMEDIATE_SHUTDOWN_S):
        (data / "postmaster.pid").unlink(missing_ok=True)
