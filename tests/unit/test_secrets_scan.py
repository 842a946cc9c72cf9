"""The scan finds what it must: proven by planting, at every alignment."""

from base64 import b64encode, urlsafe_b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.runtime_lock import ROOT
from tests.secrets_scan import scan_bytes, scan_files

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


@pytest.mark.parametrize("ignored", [".gitignore", ".dockerignore"])
def test_files_that_hold_secrets_are_in_no_commit_and_no_image(ignored: str) -> None:
    """As operators are told to make them: `.env` beside docker-compose.yml, and an `--admin-file admin.json`."""
    lines = {line.strip("/ ") for line in (ROOT / ignored).read_text().splitlines()}
    assert {".env", "admin.json", ".quarterdeck"} <= lines
