"""What every benchmark ends with: its figures beside their limits, as a table and as JSON."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Limit:
    """One figure that is promised. `is_met` is decided where the figure is measured: some are floors, some are ceilings."""

    what: str
    measured: float
    limit: float
    is_met: bool


def at_least(what: str, measured: float, limit: float) -> Limit:
    return Limit(what, measured, limit, measured >= limit)


def at_most(what: str, measured: float, limit: float) -> Limit:
    return Limit(what, measured, limit, measured <= limit)


def options(description: str) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser


def conclude(figures: Mapping[str, object], limits: Sequence[Limit], json_file: Path | None) -> int:
    """Print the limits, write everything, and return the exit status: 1 where a limit is missed."""
    print()
    for limit in limits:
        print(f"{'met   ' if limit.is_met else 'MISSED'}  {limit.what}: {limit.measured:.3f} (limit {limit.limit:g})")
    if json_file is not None:
        json_file.write_text(json.dumps({**figures, "limits": [asdict(limit) for limit in limits]}, indent=2) + "\n")
    return 0 if all(limit.is_met for limit in limits) else 1
