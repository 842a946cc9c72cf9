"""API keys as texts: made once, stored as a hash, recognised by their first characters (contract decision 7, fleet.md 1.3)."""

import re
import secrets
from dataclasses import dataclass, field

from models.domain.keys import fingerprint

PREFIX = "sk-qd-"
KEY_BYTES = 32
SHOWN_CHARACTERS = 12
CHAIN_LIMIT = 8
"""Most keys in a chain of which each was made by the one before. The database holds it (`check_api_key`)."""

_FORM = re.compile(r"sk-qd-[0-9a-f]{64}")


@dataclass(frozen=True)
class ApiKeyText:
    """A key's plaintext with what is stored of it. The plaintext is shown to its owner once and kept nowhere."""

    plaintext: str = field(repr=False)

    @property
    def shown_prefix(self) -> str:
        return self.plaintext[:SHOWN_CHARACTERS]

    @property
    def hash(self) -> str:
        return fingerprint(self.plaintext)


def new_api_key() -> ApiKeyText:
    """`sk-qd-` and 64 hexadecimal characters."""
    return ApiKeyText(PREFIX + secrets.token_hex(KEY_BYTES))


def looks_like_api_key(text: str) -> bool:
    """Whether the text has the form of a key; nothing is said about its being one."""
    return _FORM.fullmatch(text) is not None
