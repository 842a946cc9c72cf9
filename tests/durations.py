"""How long each file of tests took when that was last written down, and the order in which files begin because of it.

A file nobody has timed begins before all others: it may be the longest.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from xdist.scheduler import LoadFileScheduling

TESTS: Final = Path(__file__).parent
RECORDED: Final = TESTS / "durations.json"
"""File below `tests/` -> seconds of all its tests with what they set up. Written by `make durations`."""

TOGETHER: Final = "chaos"
"""The folder whose files begin together in one process, which waits for most of what it has begun."""


def recorded() -> dict[str, float]:
    return dict(json.loads(RECORDED.read_text()))


def record(measured: Mapping[str, float]) -> None:
    """Files that were not measured keep their seconds, and those that are no more lose them."""
    kept = {file: seconds for file, seconds in recorded().items() if (TESTS / file).exists()}
    merged = kept | {file: round(seconds, 1) for file, seconds in measured.items()}
    RECORDED.write_text(json.dumps(dict(sorted(merged.items())), indent=1) + "\n")


def longest_first(items: list[pytest.Item]) -> None:
    """Where files are dealt out to several processes, no long one comes last. Within a file the order stays."""
    seconds = recorded()
    together = sum(value for file, value in seconds.items() if file.startswith(f"{TOGETHER}/"))

    def place(item: pytest.Item) -> float:
        file = item.path.relative_to(TESTS).as_posix()
        return -(together if file.startswith(f"{TOGETHER}/") else seconds.get(file, float("inf")))

    items.sort(key=place)


class FilesInOrder(LoadFileScheduling):  # type: ignore[misc]  # xdist ships no types
    """Deals out files in the order of collection, and `TOGETHER` as if it were one file."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        folder = f"tests/{TOGETHER}"
        return folder if nodeid.startswith(f"{folder}/") else str(super()._split_scope(nodeid))
