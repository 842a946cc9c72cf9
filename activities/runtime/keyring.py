"""The keys that payloads are sealed under: their names, their boxes, and how a new key is known before it is had.

XChaCha20-Poly1305 (libsodium, through PyNaCl) with a random 24-byte nonce per payload.
"""

from collections.abc import Sequence
from hashlib import blake2b, sha256
from hmac import compare_digest
from typing import Final

from nacl.exceptions import CryptoError
from nacl.secret import Aead

VOUCHER_BYTES: Final = 16


def key_id(key: bytes) -> str:
    """16 hex characters that name a key without telling anything of it."""
    return sha256(b"quarterdeck payload key id\0" + key).hexdigest()[:16]


class DoesNotOpen(Exception):
    """Altered, cut short, or sealed with other additional data."""


class KeyRing:
    """Seals with `key`, opens with it or any of `previous`. Shared by every codec of a process: it holds the boxes."""

    def __init__(self, key: bytes, previous: Sequence[bytes] = ()) -> None:
        self.current = key_id(key)
        self._keys = {key_id(each): each for each in (key, *previous)}
        self._boxes = {name: Aead(each) for name, each in self._keys.items()}
        self.vouchers = b"".join(_voucher(each, self.current) for each in previous)
        """Shows whoever has only an older key that the current one is this installation's too."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._boxes)

    def has(self, name: str) -> bool:
        return name in self._boxes

    def is_vouched_for(self, name: str, vouchers: bytes) -> bool:
        """Whether a process with one of our keys has called the key `name` its current one."""
        given = [vouchers[at : at + VOUCHER_BYTES] for at in range(0, len(vouchers), VOUCHER_BYTES)]
        return any(compare_digest(_voucher(key, name), each) for key in self._keys.values() for each in given)

    def seal(self, content: bytes, additional: bytes) -> bytes:
        return bytes(self._boxes[self.current].encrypt(content, additional))

    def open(self, name: str, sealed: bytes, additional: bytes) -> bytes:
        """Raises DoesNotOpen; KeyError for a key that is not had."""
        try:
            return self._boxes[name].decrypt(sealed, additional)
        except (CryptoError, ValueError):
            raise DoesNotOpen from None


def _voucher(key: bytes, name: str) -> bytes:
    return blake2b(name.encode("utf-8", "replace"), digest_size=VOUCHER_BYTES, key=key, person=b"qd voucher").digest()
