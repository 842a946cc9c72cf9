"""Organizations, their people and their keys, as rows that nobody has written yet."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from models.base.ids import new_id
from models.domain.identity.api_keys import new_api_key
from models.tables.identity import ApiKey, Organization, User


def organization(name: str = "Acme") -> Organization:
    """Of many of one name, each has a slug of its own."""
    return Organization(id=new_id(), name=name, slug=f"{name.lower()}-{secrets.token_hex(4)}")


def user(**columns: Any) -> User:
    """Somebody whom nobody else is called like."""
    username = f"p{secrets.token_hex(6)}"
    return User(
        id=new_id(), **{"username": username, "email": f"{username}@example.org", "first_name": "Ada", **columns}
    )


def api_key(
    organization_id: UUID, user_id: UUID, *, name: str = "first", scopes: Sequence[str] = ()
) -> tuple[ApiKey, str]:
    """The row, and the key itself."""
    key = new_api_key()
    row = ApiKey(
        id=new_id(), organization_id=organization_id, user_id=user_id, name=name, key_prefix=key.shown_prefix,
        key_hash=key.hash, scopes=list(scopes),
    )  # fmt: skip
    return row, key.plaintext
