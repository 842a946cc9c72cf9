"""`quarterdeck up` with a part that is never ready, or not for the second time: it says so, and does not wait for ever."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded.driver import forget, started
from tests.patience import GIVE_UP_S


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "home"
    yield path
    forget(path)


def test_it_is_named_after_a_while_and_given_up_with_its_last_lines(home: Path) -> None:
    with started(home, "silent", "--impatient", "slow_start.TELL_AFTER_S=3") as run:
        assert run.process.wait(GIVE_UP_S) == 1
        told, *last = [line for line in run.text().splitlines() if "worker" in line or line.startswith("  ")]
        assert told == (
            "quarterdeck: waiting for worker, since 3 s: the last line of its log is 'still looking for what is not there'"
        )
        assert last == [
            f"quarterdeck: worker is not ready after 4 s; the end of {home / 'logs' / 'worker.log'}:",
            "  first word",
            "  still looking for what is not there",
        ]
        assert run.pids() == {}


def test_a_program_of_the_setup_that_does_not_end_is_named_and_given_up(home: Path) -> None:
    with started(
        home, "worker", "--migrate=silent", "setup_programs.SETUP_TIMEOUT_S=2", "slow_start.TELL_AFTER_S=1"
    ) as run:
        assert run.process.wait(GIVE_UP_S) == 1
        assert "quarterdeck: waiting for migrate, since 1 s" in run.text()
        assert f"quarterdeck: migrate is not ready after 2 s; the end of {home / 'logs' / 'migrate.log'}:" in run.text()
