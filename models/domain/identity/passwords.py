"""Passwords: argon2id hashes, made and checked. Every call costs tens of milliseconds and 19 MiB: keep it off an event loop."""

import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

SHORTEST = 8
"""Least characters of a password that a person chooses (contract/fleet.md 2.1)."""

LONGEST = 1024
"""Most characters that are hashed: a longer text is no password but an attack on the hash's running time."""

GENERATED_BYTES = 24

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""OWASP Password Storage Cheat Sheet, argon2id: 19 MiB, 2 passes, 1 lane."""


def new_password() -> str:
    """A random password of 32 characters (192 bits)."""
    return secrets.token_urlsafe(GENERATED_BYTES)


def hash_password(password: str) -> str:
    """The hash with its salt and parameters, in the PHC string format."""
    return _HASHER.hash(password)


def verify_password(stored_hash: str | None, password: str) -> bool:
    """Whether the password is the one behind the hash.

    Without a hash (no such user, or one who has no password) the answer is False after the same work, so that the time of a
    refusal does not tell who exists.
    """
    try:
        matches = _HASHER.verify(stored_hash or decoy(), password[:LONGEST])
    except (Argon2Error, InvalidHashError):
        return False
    return matches and stored_hash is not None and len(password) <= LONGEST


@cache
def decoy() -> str:
    """The hash that stands in for one that is not there: made once in a process, no password of anybody."""
    return _HASHER.hash(secrets.token_urlsafe(GENERATED_BYTES))
