"""Encryption of everything that Temporal stores for us: arguments, results, signals, failures, memos, summaries.

XChaCha20-Poly1305 (libsodium, through PyNaCl) with a random 24-byte nonce per payload. The whole payload is sealed, its
encoding metadata included; in clear remain the encoding name, the format and the id of the key, which the seal covers.
Decision record: docs/decisions/0010-payload-codec.md.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from nacl.exceptions import CryptoError
from nacl.secret import Aead
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from models.base.errors import AppError

ENCODING: Final = b"binary/encrypted"
KEY_ID_FIELD: Final = "quarterdeck-key"
FORMAT: Final = b"quarterdeck payload 1"


class PayloadKeyUnknown(AppError):
    """A payload was sealed under a key that this process was not given. Retrying cannot help; giving it the key does.

    Deliberately no `ApplicationError`: the SDK ends a workflow whose input fails to decode with a non-retryable one, and the
    owner of a machine must outlive a configuration mistake. So its task fails and is tried again until the key is back.
    """

    code = "PAYLOAD_KEY_UNKNOWN"


class PayloadCorrupt(AppError):
    """A payload does not open under the key that it names: it was damaged, or made by someone without the key."""

    code = "PAYLOAD_CORRUPT"


def key_id(key: bytes) -> str:
    """16 hex characters that name a key without telling anything of it."""
    return sha256(b"quarterdeck payload key id\0" + key).hexdigest()[:16]


class EncryptionCodec(PayloadCodec):
    """Seals with `key`, opens with it or any of `previous`.

    To rotate: start every process with the new key as current and the old one as previous; drop the old one when the
    retention of the last workflow that began under it has passed. Payloads that are not encrypted pass: an operator may
    signal from the Temporal UI, and an installation may have begun without a key.
    """

    def __init__(self, key: bytes, previous: Sequence[bytes] = ()) -> None:
        self._current = key_id(key)
        self._boxes = {key_id(each): Aead(each) for each in (key, *previous)}

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._seal(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises PayloadKeyUnknown, PayloadCorrupt."""
        return [self._open(payload) for payload in payloads]

    def _seal(self, payload: Payload) -> Payload:
        name = self._current.encode()
        sealed = self._boxes[self._current].encrypt(payload.SerializeToString(), FORMAT + name)
        return Payload(metadata={"encoding": ENCODING, KEY_ID_FIELD: name}, data=bytes(sealed))

    def _open(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        name = payload.metadata.get(KEY_ID_FIELD, b"")
        printable = name.decode("ascii", "replace")[:16]
        box = self._boxes.get(printable)
        if box is None:
            raise PayloadKeyUnknown(
                f"a payload is sealed under key {printable!r}, and this process has {', '.join(self._boxes)}: "
                "set QUARTERDECK_INSTALLATION_KEY_PREVIOUS to the installation key of that time"
            )
        try:
            return Payload.FromString(box.decrypt(payload.data, FORMAT + name))
        except (CryptoError, ValueError):
            raise PayloadCorrupt(
                f"a payload under key {printable!r} does not open: it was altered or cut short"
            ) from None
