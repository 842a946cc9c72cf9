"""The embedded server's roles and database as files, written and read by PostgreSQL's own programs.

Not its data directory: a dump is a single moment of the database whether it is in use or not, needs no replication to be switched
on, and can be read by a later major version of PostgreSQL.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from models.settings.derived import EMBEDDED_DATABASE, EMBEDDED_SUPERUSER
from workers.embedded import processes
from workers.embedded.errors import StartError
from workers.embedded.postgres import PostgresServer
from workers.embedded.postgres_program import bundled_tree

ROLES_FILE, DUMP_FILE = "roles.sql", "quarterdeck.dump"
READY_TIMEOUT_S = 120.0
"""Longer than it takes for `up`: a server that was killed reads its log first."""


@contextmanager
def serving(server: PostgresServer, log: Path) -> Iterator[None]:
    """The server runs inside the block, for nobody but us. Raises StartError."""
    log.unlink(missing_ok=True)
    server.before_start()
    spec = server.process(log)
    process = processes.spawn(spec)
    try:
        processes.wait_until_ready(process, spec, server.is_ready, READY_TIMEOUT_S)
        yield
    except RuntimeError as error:
        raise StartError(str(error)) from None
    finally:
        processes.stop(process, spec)


def dump(url: str, folder: Path) -> None:
    """Two files in it. `url` is a superuser's. Raises StartError."""
    _run(url, "pg_dumpall", "--roles-only", "--file", str(folder / ROLES_FILE))
    _run(url, "pg_dump", "--format", "custom", "--file", str(folder / DUMP_FILE), EMBEDDED_DATABASE)


def load(url: str, folder: Path) -> None:
    """Into a server that has neither. Its superuser keeps the password that it has. Raises StartError, OSError."""
    roles = folder / ROLES_FILE
    ours = (f"CREATE ROLE {EMBEDDED_SUPERUSER};", f"ALTER ROLE {EMBEDDED_SUPERUSER} ")
    with roles.open(encoding="utf-8") as file:
        others = [line for line in file if not line.startswith(ours)]
    roles.write_text("".join(others), encoding="utf-8")
    postgres = ("--dbname", "postgres")
    _run(url, "psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", *postgres, "--file", str(roles))
    _run(url, "pg_restore", "--create", "--exit-on-error", *postgres, str(folder / DUMP_FILE))


def _run(url: str, program: str, *arguments: str) -> None:
    """One of PostgreSQL's clients, as us, with nothing of our environment. The password is not on its command line."""
    server = urlsplit(url)
    environment = {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C",
        "PGCLIENTENCODING": "UTF8",
        "PGHOST": server.hostname or "",
        "PGPORT": str(server.port),
        "PGUSER": unquote(server.username or ""),
        "PGPASSWORD": unquote(server.password or ""),
        "PGSSLMODE": "disable",
        "PGPASSFILE": "/dev/null",
    }
    result = subprocess.run(
        [str(bundled_tree() / "bin" / program), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        reason = next((line for line in result.stderr.splitlines() if "error" in line.lower()), "no reason given")
        raise StartError(f"PostgreSQL's {program} failed: {reason[:300]}")
