"""Subkeys of the installation key: one secret to keep, one key per purpose, nothing derived stored in clear.

HMAC-SHA256 (RFC 2104) over length-prefixed parts, so that ("a", "bc") and ("ab", "c") differ.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from enum import StrEnum
from hashlib import sha256

KEY_BYTES = 32


class Purpose(StrEnum):
    BOOTSTRAP = "bootstrap"
    SERVING = "serving"
    AGENT = "worker"
    JWT = "jwt"
    CODEC = "codec"
    DATABASE = "database"
    SIMCLOUD = "simcloud"
    SEALING = "sealing"


def decode_installation_key(text: str) -> bytes:
    """The 32 bytes behind the base64url text. Raises ValueError for anything else, without repeating it."""
    try:
        key = urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("the installation key is not 32 bytes in base64url")
    return key


def derive(installation_key: bytes, purpose: Purpose, *parts: str) -> bytes:
    """32 bytes that only the holder of the installation key can compute for this purpose and these parts."""
    return hmac.new(installation_key, length_prefixed(purpose.value, *parts), sha256).digest()


def length_prefixed(*parts: str) -> bytes:
    """The parts as bytes that no other parts have."""
    return b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)


def derive_text(installation_key: bytes, purpose: Purpose, *parts: str) -> str:
    """The derived key as 43 characters of base64url without padding."""
    return urlsafe_b64encode(derive(installation_key, purpose, *parts)).rstrip(b"=").decode()


def fingerprint(secret: str) -> str:
    """sha256 in hex: what is stored of a token whose entropy is already full."""
    return sha256(secret.encode()).hexdigest()
