"""The scan finds what it must: proven by planting, at every alignment."""

import re
import subprocess
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.adapters.local.folders import SECRETS_AND_STATE
from models.settings.derived import KEY_FILE, POSTGRES_FILE
from scripts.runtime_lock import ROOT
from tests.secrets_scan import scan_bytes, scan_files
from workers.embedded.home import Home

SECRET = "p1anted~secret?ÿ>of-the-test"


@given(before=st.binary(max_size=20), after=st.binary(max_size=20))
def test_it_is_found_in_every_form_wherever_it_lies(before: bytes, after: bytes) -> None:
    content = before + SECRET.encode() + after
    for encoded in (
        content,
        content.hex().encode(),
        content.hex().upper().encode(),
        b64encode(content),
        urlsafe_b64encode(content),
    ):
        assert scan_bytes(encoded, [SECRET])


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_a_find_names_the_form_and_not_the_secret(offset: int) -> None:
    finds = scan_bytes(b64encode(b"x" * offset + SECRET.encode()), ["another-secret", SECRET], "log")
    assert any(f"log: secret 1 in base64 at {offset}" == find for find in finds)
    assert SECRET not in "".join(finds)


def test_nothing_planted_nothing_found() -> None:
    assert scan_bytes(b"an ordinary log line " * 100, [SECRET]) == []


def test_a_json_escape_is_found() -> None:
    assert scan_bytes(SECRET.encode("unicode_escape"), [SECRET])


def test_folders_are_searched_to_the_bottom(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "log").write_text(f"token={SECRET}")
    [find] = scan_files([tmp_path], [SECRET])
    assert "a/b/log" in find


def test_a_secret_too_short_to_search_for_is_refused() -> None:
    with pytest.raises(ValueError, match="8"):
        scan_bytes(b"", ["short"])


HOME = Home(Path("home"))
SECRET_NAMES = (
    ".env", ".env.production", "temporal.pem", "temporal.key",  # what operators are told to make
    KEY_FILE, POSTGRES_FILE, HOME.run_record.name, HOME.temporal_database.name, f"{HOME.temporal_database.name}-wal",
    HOME.simcloud_database.name, f"{HOME.simcloud_database.name}.token",
    HOME.admin_file.name, f"{HOME.admin_file.name}.pending", f"{HOME.admin_file.name}.new",
    *SECRETS_AND_STATE,
    *(f".{name}.x1_y2z3" for name in (KEY_FILE, POSTGRES_FILE, *SECRETS_AND_STATE)),  # as they are written
    "quarterdeck-2026-01-31.tar.gz", ".quarterdeck-2026-01-31.tar.gz.partial",  # a backup under its documented name
    "backup.partial/database/roles.sql", "restore.files/database/roles.sql",
    f".quarterdeck/{KEY_FILE}", ".quarterdeck/postgres/data/base/1", ".quarterdeck/logs/api.log",
)  # fmt: skip
ANYWHERE = ("", "deploy/", "api/", "models/settings/x/", "homes/second/instances/m-1/")


def docker_leaves_out(path: str) -> bool:
    """Patterns are rooted, `*` stays within a name and `**` does not; a folder that is left out takes along what is in it."""
    lines = [line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines()]
    patterns = [line.strip("/") for line in lines if line and not line.startswith("#")]
    assert not [pattern for pattern in patterns if re.search(r"[!?\[\]\\]", pattern)], "not understood here"
    spelled = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    expressions = [
        "".join(spelled.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*)", pattern))
        for pattern in patterns
    ]
    return any(re.fullmatch(rf"{expression}(?:/.*)?", path) for expression in expressions)


def git(*arguments: str, text: str = "") -> list[str]:
    ran = subprocess.run(["git", *arguments], cwd=ROOT, input=text, capture_output=True, text=True, check=False)
    assert ran.returncode in {0, 1}, ran.stderr
    return [name for name in ran.stdout.split("\0") if name]


def test_files_that_hold_secrets_are_in_no_commit_and_no_image_wherever_they_lie() -> None:
    paths = [folder + name for folder in ANYWHERE for name in SECRET_NAMES]
    assert set(git("check-ignore", "--no-index", "--stdin", "-z", text="\0".join(paths))) == set(paths)
    assert [path for path in paths if not docker_leaves_out(path)] == []


def test_nothing_of_the_product_is_left_out() -> None:
    """Neither by git nor, of what the image copies, by docker."""
    tracked = git("ls-files", "-z")
    assert git("ls-files", "--cached", "--ignored", "--exclude-standard", "-z") == []
    copied = [
        word
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    needed = [path for path in tracked if path.split("/")[0] in copied]
    assert len(needed) > 100
    assert [path for path in needed if docker_leaves_out(path)] == []
