"""One SQLite file that holds all the cloud knows.

WAL with `synchronous=NORMAL`: a commit is in the operating system's hands when it returns, so SIGKILL of this process loses
nothing; only a power cut may lose the last moments (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS machines (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, zone TEXT NOT NULL, type TEXT NOT NULL,
  status TEXT NOT NULL, error TEXT, tags TEXT NOT NULL, user_data TEXT NOT NULL, price_eur_per_hour TEXT NOT NULL,
  created_at REAL NOT NULL, visible_at REAL NOT NULL, billed_from REAL, billed_until REAL, ended_at REAL, end_reason TEXT,
  next_status TEXT, next_at REAL, preempt_after_s REAL, agent_delay_s REAL NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS machines_due ON machines (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS machines_placed ON machines (zone, type) WHERE ended_at IS NULL;
CREATE TABLE IF NOT EXISTS machine_tags (tag TEXT NOT NULL, machine_seq INTEGER NOT NULL, PRIMARY KEY (tag, machine_seq))
  WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS machine_tags_of ON machine_tags (machine_seq);
CREATE TABLE IF NOT EXISTS volumes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, zone TEXT NOT NULL,
  volume_type TEXT NOT NULL, size_gb INTEGER NOT NULL, is_boot INTEGER NOT NULL, delete_on_terminate INTEGER NOT NULL,
  made_for TEXT NOT NULL, attached_to TEXT, tags TEXT NOT NULL, price_eur_per_hour TEXT NOT NULL,
  created_at REAL NOT NULL, billed_until REAL);
CREATE INDEX IF NOT EXISTS volumes_made_for ON volumes (made_for);
CREATE TABLE IF NOT EXISTS offers (type TEXT NOT NULL, zone TEXT NOT NULL, price_eur_per_hour TEXT NOT NULL,
  capacity INTEGER NOT NULL, is_available INTEGER NOT NULL, PRIMARY KEY (type, zone));
CREATE TABLE IF NOT EXISTS faults (
  id INTEGER PRIMARY KEY AUTOINCREMENT, request_class TEXT NOT NULL, kind TEXT NOT NULL, zone TEXT, type TEXT,
  remaining INTEGER, probability REAL NOT NULL, seed INTEGER NOT NULL, settings TEXT NOT NULL,
  draws INTEGER NOT NULL DEFAULT 0, fired INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS agents (
  machine_id TEXT PRIMARY KEY, worker_id TEXT NOT NULL, state TEXT NOT NULL, nonce TEXT NOT NULL,
  worker_token TEXT, serving_key TEXT, traits TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS agents_serving_key ON agents (serving_key) WHERE serving_key IS NOT NULL;
CREATE TABLE IF NOT EXISTS inference_requests (
  id INTEGER PRIMARY KEY, machine_id TEXT NOT NULL, path TEXT NOT NULL, model TEXT, is_stream INTEGER NOT NULL,
  request_id TEXT, received_at REAL NOT NULL, ended_at REAL, outcome TEXT NOT NULL, status INTEGER,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, chunks INTEGER NOT NULL);
"""
TABLES = ("machines", "machine_tags", "volumes", "offers", "faults", "agents", "inference_requests")


class DatabaseInUse(Exception):
    """Another process serves this file: two clouds with one storage would hand out every machine twice."""


class Database:
    """Short synchronous statements: each takes tens of microseconds, less than a hop to a thread would."""

    def __init__(self, path: Path) -> None:
        """The file is made 0600, for user data holds secrets. Raises DatabaseInUse, OSError or sqlite3.Error."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock_fd = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock_fd)
            raise DatabaseInUse(f"{path} is in use by another simulated cloud") from None
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=2000", "temp_store=MEMORY"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        self._connection.close()
        os.close(self._lock_fd)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Nested use joins the outer transaction."""
        is_nested = self._connection.in_transaction
        if is_nested:
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # on a full disk SQLite has rolled it back by itself
                self._connection.execute("ROLLBACK")
            raise

    def rows(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        return [dict(row) for row in self._connection.execute(sql, parameters)]

    def row(self, sql: str, *parameters: object) -> dict[str, Any] | None:
        row = self._connection.execute(sql, parameters).fetchone()
        return None if row is None else dict(row)

    def run(self, sql: str, *parameters: object) -> int:
        """The new row's id after an INSERT."""
        return self._connection.execute(sql, parameters).lastrowid or 0

    def changed(self, sql: str, *parameters: object) -> int:
        """How many rows the statement changed."""
        return self._connection.execute(sql, parameters).rowcount

    def run_many(self, sql: str, parameters: Iterable[tuple[object, ...]]) -> None:
        self._connection.executemany(sql, parameters)

    def wipe(self) -> None:
        with self.transaction():
            for table in TABLES:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a constant of this module
