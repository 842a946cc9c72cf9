"""What must not be in the repository, and what must: no secrets, no addresses of one workplace, a complete lock file."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.source import ROOT

LOCK = ROOT / "requirements.lock"
LARGEST_FILE_BYTES = 1_000_000

# Put together here, so that this file does not find itself.
FORBIDDEN = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE" + " KEY",
    "an access key of AWS": r"\bAKIA" + r"[0-9A-Z]{16}\b",
    "a token of a code host": r"\bgh[pousr]_" + r"[A-Za-z0-9]{36}",
    "a token of a model hub": r"\bhf_" + r"[A-Za-z0-9]{30}",
    "a key of a model vendor": r"\bsk-" + r"(?:ant-|proj-)?[A-Za-z0-9]{32}",
    "a package index": r"(?:--(?:extra-)?index" + r"-url|\.org/sim" + r"ple\b|files\.python" + r"hosted)",
    "a path of one machine": r"(?<![\w.$}])/(?:ro" + r"ot/|Users/|home/(?!nonroot|quarterdeck)|wo" + r"rk/)\w",
}


def tree() -> list[Path]:
    """Every file that is or would be in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    )  # fmt: skip
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def places(pattern: str, path: Path, text: str) -> list[str]:
    return [f"{path}:{text.count(chr(10), 0, match.start()) + 1}" for match in re.finditer(pattern, text)]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_tree_holds_no(what: str) -> None:
    found = []
    for path in tree():
        try:
            found += places(FORBIDDEN[what], path.relative_to(ROOT), path.read_text())
        except UnicodeDecodeError:
            continue
    assert found == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a private key", "-----BEGIN RSA PRIVATE" + " KEY-----"),
        ("an access key of AWS", "AKIA" + "A" * 16),
        ("a token of a code host", "ghp_" + "a" * 36),
        ("a token of a model hub", "hf_" + "a" * 34),
        ("a key of a model vendor", "sk-" + "a" * 40),
        ("a package index", "pip install --index" + "-url x"),
        ("a path of one machine", "cd /ro" + "ot/quarterdeck"),
        ("a path of one machine", "'/Users" + "/someone'"),
    ],
)
def test_such_a_thing_would_be_found(what: str, text: str) -> None:
    assert places(FORBIDDEN[what], Path("x"), f"first line\n{text}") == ["x:2"]


def test_no_file_is_large() -> None:
    assert [str(path) for path in tree() if path.stat().st_size > LARGEST_FILE_BYTES] == []


def locked() -> list[tuple[str, str]]:
    """(name, version) of every entry of the lock file; a name comes twice where it depends on the Python version."""
    found = re.finditer(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", LOCK.read_text(), re.MULTILINE)
    return [(canonicalize_name(match[1]), match[2]) for match in found]


def test_every_locked_package_has_hashes_and_no_address() -> None:
    text = LOCK.read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert len(entries) == len(locked())
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_lock_file_fulfils_every_requirement() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [Requirement(text) for text in [*project["dependencies"], *(one for extra in extras for one in extra)]]
    unmet = [str(one) for one in wanted if not any(_fulfils(one, name, version) for name, version in locked())]
    assert unmet == [], "requirements.lock is older than pyproject.toml: run `make lock`"


def _fulfils(requirement: Requirement, name: str, version: str) -> bool:
    return canonicalize_name(requirement.name) == name and requirement.specifier.contains(version)
