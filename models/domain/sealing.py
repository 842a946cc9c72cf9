"""Values that only their organization's work may read, sealed before they reach the database (docs/decisions/0085).

`TenantSeals` seals and opens with the installation key. `PublicSeal` cannot open what it made, `PrivateSeals` can: for what the
API takes in and one worker alone may use. Either way a value opens in the cell it was sealed for and nowhere else.
XChaCha20-Poly1305 with a random nonce, and libsodium's sealed boxes (X25519), through PyNaCl.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Final
from uuid import UUID

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.secret import Aead
from pydantic import SecretStr

from models.base.errors import AppError, InvalidRequest
from models.domain.keys import Purpose, derive, length_prefixed

LONGEST_BYTES: Final = 65_536
"""Of a value: credentials, tokens, private keys. What is larger is no secret but a document."""

SECRET, PUBLIC = "qd1s", "qd1b"
"""What the text of a sealed value begins with: the first format, by a secret key or to a public one."""
PATTERN: Final = r"^qd1[sb]\.[0-9a-f]{16}\.[A-Za-z0-9_-]+$"
"""Of the text; PostgreSQL reads it the same way (`models.tables.sealed`)."""
_TEXT = re.compile(PATTERN)
_BINDING_BYTES: Final = 32


class SealBroken(AppError):
    """The text was altered, cut short, or sealed for another cell. It tells nothing of what is in it; retrying cannot help."""

    code = "SEAL_BROKEN"


class SealKeyUnknown(AppError):
    """It was sealed with a key that this process was not given: one before the last rotation, or that of another worker."""

    code = "SEAL_KEY_UNKNOWN"


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a value lies. It is part of the seal: moved to another row, column or organization a value does not open."""

    organization_id: UUID
    table: str
    column: str
    row_id: UUID

    @property
    def binding(self) -> bytes:
        return length_prefixed("cell", str(self.organization_id), self.table, self.column, str(self.row_id))


@dataclass(frozen=True, slots=True, repr=False)
class Sealed:
    """The text that may be stored, copied and backed up. What it is made of is checked when it is opened."""

    text: str

    @property
    def key_id(self) -> str:
        """16 hex characters that name the key and tell nothing of it; empty for a text that is not of ours."""
        return self.text.split(".")[1] if _TEXT.fullmatch(self.text) else ""

    def __repr__(self) -> str:
        return f"Sealed(key_id={self.key_id!r})"


class TenantSeals:
    """Seals with the first of the installation's keys, opens with any. Each organization and column has a key of its own."""

    def __init__(self, installation_keys: Sequence[bytes]) -> None:
        """The current key first, then those before the last rotations."""
        roots = [derive(each, Purpose.SEALING) for each in installation_keys]
        self._roots = {key_id(root): root for root in roots}
        self.current = key_id(roots[0])
        """What a value was sealed with; one with another is to be opened and sealed again before its key is gone."""

    def seal(self, value: SecretStr, cell: Cell) -> Sealed:
        """Raises InvalidRequest for a value that is longer than LONGEST_BYTES, or no text."""
        return _sealed(
            SECRET, self.current, bytes(self._box(self.current, cell).encrypt(_content(value), cell.binding))
        )

    def open(self, sealed: Sealed, cell: Cell) -> SecretStr:
        """Raises SealBroken, SealKeyUnknown."""
        content = _content_of(sealed, SECRET)
        if sealed.key_id not in self._roots:
            raise SealKeyUnknown(f"this process was not given the key {sealed.key_id}")
        with suppress(CryptoError, ValueError):
            return SecretStr(self._box(sealed.key_id, cell).decrypt(content, cell.binding).decode())
        raise SealBroken("a sealed value does not open: it was altered, or sealed for another cell")

    def _box(self, name: str, cell: Cell) -> Aead:
        return Aead(derive(self._roots[name], Purpose.SEALING, str(cell.organization_id), cell.table, cell.column))


class PublicSeal:
    """Seals what only the holder of the private key opens."""

    def __init__(self, public_key: bytes) -> None:
        """32 bytes of X25519. Raises ValueError."""
        self._box, self._key_id = SealedBox(_public(public_key)), key_id(public_key)

    def seal(self, value: SecretStr, cell: Cell) -> Sealed:
        """Raises InvalidRequest for a value that is longer than LONGEST_BYTES, or no text."""
        return _sealed(PUBLIC, self._key_id, self._box.encrypt(sha256(cell.binding).digest() + _content(value)))


class PrivateSeals:
    """Opens what was sealed to any of its keys."""

    def __init__(self, private_keys: Sequence[bytes]) -> None:
        """Each 32 random bytes (`make_private_key`), of no other key derived."""
        keys = [PrivateKey(each) for each in private_keys]
        self._boxes = {key_id(bytes(each.public_key)): SealedBox(each) for each in keys}

    def open(self, sealed: Sealed, cell: Cell) -> SecretStr:
        """Raises SealBroken, SealKeyUnknown."""
        content, box = _content_of(sealed, PUBLIC), self._boxes.get(sealed.key_id)
        if box is None:
            raise SealKeyUnknown(f"this process has no private key {sealed.key_id}")
        with suppress(CryptoError, ValueError):
            opened = box.decrypt(content)
            if compare_digest(opened[:_BINDING_BYTES], sha256(cell.binding).digest()):
                return SecretStr(opened[_BINDING_BYTES:].decode())
        raise SealBroken("a sealed value does not open: it was altered, or sealed for another cell")


def make_private_key() -> bytes:
    """Random; `public_key_of` it may be told to everybody."""
    return bytes(PrivateKey.generate())


def public_key_of(private_key: bytes) -> bytes:
    return bytes(PrivateKey(private_key).public_key)


def key_id(key: bytes) -> str:
    return sha256(b"quarterdeck seal key id\0" + key).hexdigest()[:16]


def _public(key: bytes) -> PublicKey:
    try:
        return PublicKey(key)
    except (CryptoError, TypeError):
        raise ValueError("a public key has 32 bytes") from None


def _content(value: SecretStr) -> bytes:
    content = None
    with suppress(UnicodeEncodeError):  # which has the value in it: it must not be the context of another one
        content = value.get_secret_value().encode()
    if content is None or len(content) > LONGEST_BYTES:
        raise InvalidRequest(
            f"a value to be sealed is text of at most {LONGEST_BYTES} bytes", code="VALUE_NOT_SEALABLE"
        )
    return content


def _sealed(format_: str, key_id: str, content: bytes) -> Sealed:
    return Sealed(f"{format_}.{key_id}.{urlsafe_b64encode(content).rstrip(b'=').decode()}")


def _content_of(sealed: Sealed, format_: str) -> bytes:
    if not sealed.text.startswith(f"{format_}.") or _TEXT.fullmatch(sealed.text) is None:
        raise SealBroken("this is no value that was sealed so")
    encoded = sealed.text.rpartition(".")[2]
    try:
        content = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except ValueError:
        content = b""
    return content
