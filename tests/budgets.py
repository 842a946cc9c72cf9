"""Seconds that the tests of each family may take, all processes added up. Beyond it is said at the end of a run, and fails nothing."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

ROOT: Final = Path(__file__).parents[1]

FAMILIES: Final = frozenset(
    path.stem
    for package in ("api/families", "workers/families")
    for path in (ROOT / package).glob("*.py")
    if path.stem != "__init__"
)
"""Folders of tests that belong to a family wherever they lie; everything else belongs to its kind, the folder below `tests/`."""

CHAOS: Final = "chaos"
"""Its tests have the machine to themselves, so that those of a family, in a folder of its own there, have a budget of their own."""

PROCESSES: Final = 4
"""Of `make test`, on two cores."""

SUITE_S: Final = 540.0
"""What a run may take as it stands; each family that comes may add `FAMILY_S`."""

FAMILY_S: Final = 240.0

CHAOS_FAMILY_S: Final = 120.0
"""Of those, for the chaos tests of a family: one process runs them."""

BUDGETS_S: Final[Mapping[str, float]] = {
    "api": 130.0,
    "architecture": 40.0,
    "chaos": 420.0,
    "cli": 100.0,
    "contract": 40.0,
    "embedded": 310.0,
    "fleet": 250.0,
    "fuzz": 80.0,
    "identity": 100.0,
    "inference": 150.0,
    "node": 110.0,
    "replay": 40.0,
    "repositories": 40.0,
    "simcloud": 80.0,
    "unit": 40.0,
    "upgrade": 110.0,
    "workers": 70.0,
    "workflow": 50.0,
}
"""They add up to `SUITE_S` of each process. A family that comes has a line from the day on that it is done, and one for its folder of
chaos tests, `chaos/<family>`; those that lie in no folder there are of the spine and the fleet."""


def family_of(file: str) -> str:
    """The family of a file, which is named by its path below `tests/`; of a chaos test, with the folder of chaos before it."""
    folders = PurePosixPath(file).parts[:-1]
    if folders[:1] == (CHAOS,):
        return "/".join(folders[:2])
    return next((folder for folder in folders if folder in FAMILIES), folders[0] if folders else "tests")


def lines(measured: Mapping[str, float]) -> list[str]:
    """One per family, the longest first; `measured` are seconds per file."""
    totals: dict[str, float] = {}
    for file, seconds in measured.items():
        totals[family_of(file)] = totals.get(family_of(file), 0.0) + seconds
    return [_line(family, totals[family]) for family in sorted(totals, key=lambda name: -totals[name])]


def _line(family: str, seconds: float) -> str:
    new_s = CHAOS_FAMILY_S if family.startswith(f"{CHAOS}/") else PROCESSES * FAMILY_S
    budget = BUDGETS_S.get(family, new_s)
    return f"{seconds:7.0f} s of {budget:4.0f} s  {family}" + ("   BEYOND ITS BUDGET" if seconds > budget else "")
