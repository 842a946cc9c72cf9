"""Identifiers: UUIDv7 (RFC 9562), so that ids sort by the time they were made."""

from uuid import UUID

import uuid_utils
from uuid_utils.compat import uuid7


def new_id() -> UUID:
    return uuid7()


def new_text_id() -> str:
    """The same as text, for where only its text is used: made, hashed and written in a fraction of the time."""
    return str(uuid_utils.uuid7())
