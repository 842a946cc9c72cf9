"""A copy of an SQLite database that another program may be writing to, by SQLite's own means: one moment of it, whole."""

import sqlite3
from contextlib import closing
from pathlib import Path

BUSY_TIMEOUT_S = 30.0


def copy_database(source: Path, target: Path) -> None:
    """`target` is made, mode as the umask says. Who writes to `source` is not held up (its journal is a WAL).

    Raises sqlite3.Error, also for a database that is damaged.
    """
    uri = f"{source.absolute().as_uri()}?mode=rw"  # quoted, and never made anew
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)
        [(verdict,)] = copy.execute("PRAGMA quick_check(1)").fetchall()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"{source.name} is damaged: {verdict}")
