"""`quarterdeck doctor` names a machine whose clock is not the database's."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from models.settings import Settings
from tests.servers import TestDatabase
from workers.embedded import clocks
from workers.embedded.clocks import TOLERATED_S, check_clock_of_database
from workers.embedded.finding import Finding
from workers.embedded.ports import free_port

HOUR_S = 3600.0


def found(home: Path, url: str) -> list[Finding]:
    return list(check_clock_of_database(Settings(home=home, database_url=SecretStr(url))))


@pytest.mark.parametrize(
    ("off_s", "text"),
    [
        (0.0, "the same as here"),
        (TOLERATED_S / 2, "the same as here"),
        (HOUR_S, "this machine is 3600 s ahead of it"),
        (-HOUR_S, "this machine is 3600 s behind it"),
    ],
)
def test_the_difference_is_named(
    database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, off_s: float, text: str
) -> None:
    really = time.time
    monkeypatch.setattr(clocks, "time", SimpleNamespace(time=lambda: really() + off_s))
    [finding] = found(tmp_path, database.admin)
    assert (finding.ok, finding.text) == (abs(off_s) <= TOLERATED_S, text)


def test_a_database_of_ones_own_or_one_that_does_not_answer_says_nothing(tmp_path: Path) -> None:
    assert list(check_clock_of_database(Settings(home=tmp_path))) == []
    assert found(tmp_path, f"postgresql://someone:planted-secret@127.0.0.1:{free_port()}/x") == []
