"""Crash points kill with SIGKILL, exactly there, exactly once if told so, and a typing error is never silent."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from activities.runtime import crash
from activities.runtime.crash import UnknownCrashPoint, crash_point, crash_points, every_crash_point
from tests.patience import GIVE_UP_S

PROGRAM = """
from activities.runtime.crash import crash_point, crash_points

@crash_points()
def create_machine():
    for point in ("before_call", "after_call", "after_return"):
        crash_point("create_machine", point)
        print(point, flush=True)

create_machine()
"""


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash, "CRASH_POINTS", {})
    monkeypatch.setattr(crash, "_ORIGINS", {})


def run(**environment: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=GIVE_UP_S,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.split()


@pytest.mark.parametrize(
    ("selected", "passed"),
    [
        ("create_machine:before_call", []),
        ("create_machine:after_call", ["before_call"]),
        ("create_machine:after_return", ["before_call", "after_call"]),
    ],
)
def test_the_selected_point_kills_before_anything_more_happens(selected: str, passed: list[str]) -> None:
    assert run(QUARTERDECK_CRASH_AT=selected) == (-signal.SIGKILL, passed)


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_later_pass_can_be_selected(nth: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Passes while the file of an earlier kill is still there do not count."""

    @crash_points("after_call")
    def delete_machine() -> None: ...

    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _pid, number: killed.append(number))
    marker = tmp_path / "done"
    marker.touch()
    monkeypatch.setenv("QUARTERDECK_CRASH_AT", f"delete_machine:after_call@{nth}")
    monkeypatch.setenv("QUARTERDECK_CRASH_ONCE", str(marker))
    monkeypatch.setattr(crash, "_PASSES", Counter())
    crash.refuse_unknown_selection()
    for _ in range(5):
        crash_point("delete_machine", "after_call")
    marker.unlink()
    for _ in range(1, nth):
        crash_point("delete_machine", "after_call")
    assert killed == []
    for _ in range(3):
        crash_point("delete_machine", "after_call")
    assert killed == [signal.SIGKILL]


@pytest.mark.parametrize("environment", [{}, {"QUARTERDECK_CRASH_AT": "delete_machine:after_call"}])
def test_without_its_selection_nothing_is_killed(environment: dict[str, str]) -> None:
    assert run(**environment) == (0, ["before_call", "after_call", "after_return"])


def test_once_means_one_kill_over_all_processes(tmp_path: Path) -> None:
    environment = {
        "QUARTERDECK_CRASH_AT": "create_machine:after_call",
        "QUARTERDECK_CRASH_ONCE": str(tmp_path / "done"),
    }
    assert run(**environment)[0] == -signal.SIGKILL
    assert run(**environment)[0] == 0


def test_the_registry_lists_every_point_for_the_chaos_tests() -> None:
    @crash_points()
    def delete_machine() -> None: ...

    @crash_points("after_call", name="register")
    def something_else() -> None: ...

    assert every_crash_point() == [
        "delete_machine:before_call",
        "delete_machine:after_call",
        "delete_machine:after_return",
        "register:after_call",
        "register:after_return",
    ]


def test_a_point_that_was_not_declared_is_refused_even_when_nothing_is_selected() -> None:
    @crash_points("after_call")
    def delete_machine() -> None: ...

    for name, point in (("delete_machine", "before_call"), ("delete_machin", "after_call")):
        with pytest.raises(UnknownCrashPoint):
            crash_point(name, point)  # type: ignore[arg-type]


def test_a_word_outside_the_vocabulary_is_refused_at_import() -> None:
    with pytest.raises(UnknownCrashPoint, match="before_call, after_call"):
        crash_points("befor_call")  # type: ignore[arg-type]


def test_two_activities_of_one_name_are_refused_at_import() -> None:
    def one() -> None: ...
    def two() -> None: ...

    crash_points(name="same")(one)
    crash_points(name="same")(one)  # the workflow sandbox imports a module again
    with pytest.raises(ValueError, match="same"):
        crash_points(name="same")(two)


@pytest.mark.parametrize(
    "selected", ["delete_machine:after_cal", "delete_machine", ":", "after_call", "delete_machine:after_call@x"]
)
def test_a_worker_refuses_to_start_with_a_selection_of_nothing(selected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @crash_points()
    def delete_machine() -> None: ...

    monkeypatch.setenv("QUARTERDECK_CRASH_AT", selected)
    with pytest.raises(UnknownCrashPoint, match="delete_machine:after_call"):
        crash.refuse_unknown_selection()
