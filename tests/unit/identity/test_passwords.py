"""Passwords: slow to guess, quick to check, and silent about who exists."""

from __future__ import annotations

import pytest

from models.domain.identity import passwords
from tests.factories.hash_work import HashWork, counted


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[HashWork]:
    return counted(monkeypatch)


def test_a_password_opens_its_own_hash_only() -> None:
    stored = passwords.hash_password("correct horse")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "correct horse" not in stored
    assert passwords.verify_password(stored, "correct horse")
    assert not passwords.verify_password(stored, "correct horse ")
    assert not passwords.verify_password(stored, "")
    assert stored != passwords.hash_password("correct horse")


def test_nobody_has_no_password() -> None:
    assert not passwords.verify_password(None, "")
    assert not passwords.verify_password(None, "anything")


def test_a_damaged_hash_opens_nothing() -> None:
    for stored in ("", "plain", "$argon2id$v=19$m=19456,t=2,p=1$", "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$"):
        assert not passwords.verify_password(stored, stored)


def test_a_password_too_long_to_be_one_is_not_hashed_whole(hashed: list[HashWork]) -> None:
    stored = passwords.hash_password("x" * passwords.LONGEST)
    assert passwords.verify_password(stored, "x" * passwords.LONGEST)
    assert not passwords.verify_password(stored, "x" * 10_000_000)
    assert [work.password_characters for work in hashed] == [passwords.LONGEST] * 2, "no more of it is hashed"


def test_a_refusal_costs_as_much_for_a_stranger(hashed: list[HashWork]) -> None:
    stored = passwords.hash_password("correct horse")
    for stored_hash in (stored, None):
        assert not passwords.verify_password(stored_hash, "wrong")
    known, unknown = hashed
    assert known == unknown


def test_generated_passwords_are_long_and_never_the_same() -> None:
    made = {passwords.new_password() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 24
