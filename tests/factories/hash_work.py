"""What the checks of passwords cost, as work: the time that it takes, `make bench` measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest
from argon2 import Parameters, PasswordHasher, extract_parameters

from models.domain.identity import passwords


@dataclass(frozen=True)
class HashWork:
    """One computed hash: the same parameters and the same length are the same work."""

    parameters: Parameters
    password_characters: int


def counted(monkeypatch: pytest.MonkeyPatch) -> list[HashWork]:
    """Grows with every password that is checked from now on."""
    done: list[HashWork] = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            stored = hash if isinstance(hash, str) else hash.decode()
            done.append(HashWork(extract_parameters(stored), len(password)))
            return super().verify(hash, password)

    monkeypatch.setattr(
        passwords, "_HASHER", Counting.from_parameters(extract_parameters(passwords.hash_password("x")))
    )
    return done
