"""How the suite is dealt out and judged: see `tests/durations.py` and `tests/budgets.py`."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api import registry as api_registry
from tests import budgets, durations
from workers import registry as worker_registry


def items(*names: str) -> list[Any]:
    """Tests by their ids below `tests/`."""
    return [SimpleNamespace(nodeid=name, path=durations.TESTS / name.partition("::")[0]) for name in names]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "durations.json"
    file.write_text(
        '{"api/test_edge.py": 3, "unit/test_outside.py": 9, "chaos/test_zones.py": 2, "chaos/test_faults.py": 8}'
    )
    monkeypatch.setattr(durations, "RECORDED", file)
    return file


def test_the_longest_begin_first_and_before_them_what_nobody_timed(recorded: Path) -> None:
    names = ["api/test_edge.py::a", "api/test_edge.py::b", "chaos/test_faults.py::c", "chaos/test_zones.py::d"]
    dealt = items(*names, "unit/test_outside.py::e", "unit/test_new.py::f")
    durations.longest_first(dealt)
    assert [item.nodeid[-1] for item in dealt] == ["f", "c", "d", "e", "a", "b"]


def test_files_that_are_gone_are_forgotten_and_others_keep_their_seconds(recorded: Path) -> None:
    durations.record({"api/test_edge.py": 4.26, "unit/test_gone.py": 1.0})
    durations.record({"unit/test_outside.py": 1.0})
    assert durations.recorded() == {
        "api/test_edge.py": 4.3, "chaos/test_faults.py": 8, "chaos/test_zones.py": 2, "unit/test_outside.py": 1.0,
    }  # fmt: skip


def test_a_family_is_a_folder_wherever_it_lies() -> None:
    files = ["api/fleet/test_x.py", "repositories/identity/test_x.py", "inference/test_x.py", "unit/settings/test_x.py"]
    assert [budgets.family_of(file) for file in files] == ["fleet", "identity", "inference", "unit"]


def test_families_are_found_by_listing() -> None:
    assert {"fleet", "identity", "inference"} <= budgets.FAMILIES
    listed = [family.name for family in api_registry.FAMILIES] + [family.name for family in worker_registry.FAMILIES]
    assert set(listed) - {"spine"} == budgets.FAMILIES


def test_chaos_has_a_budget_for_each_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "BUDGETS_S", {"chaos": 10.0})
    beyond = budgets.CHAOS_FAMILY_S + 1
    told = budgets.lines({"chaos/mail/test_x.py": beyond, "chaos/test_x.py": 9.0, "mail/test_x.py": beyond - 1})
    assert told == [
        f"{beyond:7.0f} s of {beyond - 1:4.0f} s  chaos/mail   BEYOND ITS BUDGET",
        f"{beyond - 1:7.0f} s of {budgets.PROCESSES * budgets.FAMILY_S:4.0f} s  mail",
        "      9 s of   10 s  chaos",
    ]


def test_the_budgets_are_those_of_the_suite() -> None:
    assert sum(budgets.BUDGETS_S.values()) <= budgets.PROCESSES * budgets.SUITE_S


def test_beyond_its_budget_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "BUDGETS_S", {"fleet": 10.0, "unit": 10.0})
    told = budgets.lines({"api/fleet/test_x.py": 6.0, "unit/fleet/test_x.py": 5.0, "unit/test_x.py": 10.0})
    assert told == ["     11 s of   10 s  fleet   BEYOND ITS BUDGET", "     10 s of   10 s  unit"]
