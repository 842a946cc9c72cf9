"""Passwords: slow to guess, quick to check, and silent about who exists."""

from __future__ import annotations

import time

from models.domain.identity import passwords


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


def test_a_password_too_long_to_be_one_is_refused_quickly() -> None:
    stored = passwords.hash_password("x" * passwords.LONGEST)
    assert passwords.verify_password(stored, "x" * passwords.LONGEST)
    began = time.process_time()
    assert not passwords.verify_password(stored, "x" * 10_000_000)
    assert time.process_time() - began < 1


def test_a_refusal_takes_as_long_for_a_stranger() -> None:
    stored = passwords.hash_password("correct horse")
    passwords.verify_password(None, "warm up")

    def fastest(stored_hash: str | None) -> float:
        times = []
        for _ in range(7):
            began = time.process_time()
            passwords.verify_password(stored_hash, "wrong")
            times.append(time.process_time() - began)
        return min(times)

    known, unknown = fastest(stored), fastest(None)
    assert 0.5 < known / unknown < 2


def test_generated_passwords_are_long_and_never_the_same() -> None:
    made = {passwords.new_password() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 24


def test_older_parameters_call_for_a_new_hash() -> None:
    assert not passwords.needs_rehash(passwords.hash_password("x"))
    assert passwords.needs_rehash("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzYWx0$0hsBQVXHWaM8sDL5d1Z1pQ")
