"""A database that finds no room says so, and takes what comes once there is some."""

import sqlite3
from pathlib import Path

import pytest

from simcloud.database import Database

INSERT = "INSERT INTO agents VALUES (?, 'w', 'running', 'n', NULL, NULL, ?)"


def test_a_transaction_that_finds_no_room_is_over_and_the_next_is_its_own(tmp_path: Path) -> None:
    database = Database(tmp_path / "cloud.db")
    pages = database.rows("PRAGMA page_count")[0]["page_count"]
    database.rows(f"PRAGMA max_page_count = {pages}")
    many = [(f"lost-{number}", "x" * 4000) for number in range(100)]
    with pytest.raises(sqlite3.OperationalError, match="full"), database.transaction():
        database.run_many(INSERT, many)
    database.rows(f"PRAGMA max_page_count = {pages + 100}")
    with database.transaction():
        database.run(INSERT, "kept", "x")
    database.close()
    again = Database(tmp_path / "cloud.db")
    assert [row["machine_id"] for row in again.rows("SELECT machine_id FROM agents")] == ["kept"]
    again.close()
