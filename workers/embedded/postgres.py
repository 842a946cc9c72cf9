"""The embedded PostgreSQL server: one data directory with its port and superuser password, remembered beside it."""

import hashlib
import json
import secrets
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from models.base.clock import utc_now
from models.base.private_files import NotPrivate, read_private
from models.settings.derived import EMBEDDED_DATABASE, EMBEDDED_SUPERUSER, POSTGRES_FILE, embedded_url
from workers.embedded import postgres_files as files
from workers.embedded.account import Account, account_for_postgres
from workers.embedded.errors import StartError
from workers.embedded.home import write_private
from workers.embedded.ports import free_port, is_free
from workers.embedded.processes import ProcessSpec, end, identify

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
        except psycopg.OperationalError:
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
    tree = files.runnable_tree(account)
    record_path = home / POSTGRES_FILE
    record = _read_record(record_path)
    if record is None:
        record = {"folder": str(_new_folder(home, account)), "port": free_port(), "password": secrets.token_urlsafe(24)}
    folder, port, password = Path(str(record["folder"])), int(str(record["port"])), str(record["password"])
    _clear_stale_pid_file(folder / "data")
    if account is not None:
        _take_over(folder, account)
    files.make_private_folder(folder, account)
    if not (folder / "data").exists():
        files.initialise(tree, folder, account, password)
    if not is_free(port):
        port = free_port()
    write_private(record_path, json.dumps({"folder": str(folder), "port": port, "password": password}))
    return PostgresServer(tree, folder, account, port, password, overrides or {})


def _read_record(path: Path) -> dict[str, object] | None:
    try:
        record = json.loads(read_private(path))
    except FileNotFoundError:
        return None
    except NotPrivate as error:
        raise StartError(str(error)) from None
    except (OSError, ValueError) as error:
        raise StartError(f"{path} cannot be read ({type(error).__name__}); it holds the database's password") from None
    return dict(record)


def _new_folder(home: Path, account: Account | None) -> Path:
    """`<home>/postgres`, or a folder elsewhere that `account` reaches. An abandoned one is moved aside, never reused."""
    folder = home / "postgres"
    if account is not None and not account.can_reach(folder):
        files.make_reachable_root()
        folder = files.REACHABLE_ROOT / hashlib.sha256(str(home).encode()).hexdigest()[:16]
    if (folder / "data").exists():
        folder.rename(folder.with_name(f"{folder.name}.abandoned-{utc_now():%Y%m%dT%H%M%S}"))
    return folder


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
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    identity = identify(pid, ("-D", str(data)))
    if identity is None or not end(identity, signal.SIGINT, IMMEDIATE_SHUTDOWN_S):
        pid_file.unlink(missing_ok=True)
