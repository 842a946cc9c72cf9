"""`python -m benchmarks [NAME ...]`: all benchmarks, or those named; 1 where one of them misses a limit.

Each runs in a process of its own and may be run alone: `python -m benchmarks.NAME --help`. Figures go to `benchmarks/results/`.
"""

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
NAMES = ("proxy", "deployments", "reads", "fleet", "starts", "answers", "streams", "families")
TIMEOUT_S = 1500.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    names = parser.parse_args().names or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    RESULTS.mkdir(exist_ok=True)
    missed = [name for name in names if not _is_met(name)]
    print(f"\nlimits missed in: {', '.join(missed)}" if missed else "\nevery limit is met")
    return 1 if missed else 0


def _is_met(name: str) -> bool:
    print(f"\n== {name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(RESULTS / f"{name}.json")]
    return subprocess.run(command, cwd=FOLDER.parent, timeout=TIMEOUT_S, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
