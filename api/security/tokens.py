"""Session tokens: JWT (HS256), each naming the row that makes it good (contract/fleet.md 1.1)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import jwt
from jwt.types import Options

from models.base.ids import new_id
from models.domain.identity.roles import Role
from models.domain.keys import Purpose, derive

ALGORITHM = "HS256"
ISSUER = "quarterdeck"
REQUIRED = ["iss", "sub", "session_id", "jti", "iat", "exp"]
OPTIONS: Final[Options] = {"require": REQUIRED, "verify_exp": False, "verify_iat": False}
"""The library would compare its times with this process's clock."""
LONGEST_TOKEN = 4096


@dataclass(frozen=True, slots=True)
class SessionClaims:
    """`role` is that of the installation: `admin` for a superadmin, else `user`."""

    session_id: UUID
    user_id: UUID
    email: str
    role: str
    organization_id: UUID
    organization_role: Role
    issued_at: datetime
    expires_at: datetime


class SessionTokens:
    """Makes and checks tokens with the key that derives from the installation key: rotating that ends every session."""

    def __init__(self, installation_key: bytes) -> None:
        self._key = derive(installation_key, Purpose.JWT)

    def issue(self, claims: SessionClaims) -> str:
        payload = {
            "iss": ISSUER,
            "sub": str(claims.user_id),
            "email": claims.email,
            "role": claims.role,
            "session_id": str(claims.session_id),
            "current_organization_id": str(claims.organization_id),
            "current_organization_role": claims.organization_role.value,
            "jti": str(new_id()),
            "iat": int(claims.issued_at.timestamp()),
            "exp": int(claims.expires_at.timestamp()),
        }
        return jwt.encode(payload, self._key, algorithm=ALGORITHM)

    def session_id(self, token: str, now: datetime) -> UUID | None:
        """The session that a genuine token names which is good at `now`, by the clock that it was issued by: the database's.

        None for anything else.
        """
        if len(token) > LONGEST_TOKEN:
            return None
        try:
            payload = jwt.decode(token, self._key, algorithms=[ALGORITHM], issuer=ISSUER, options=OPTIONS)
            is_good = int(payload["iat"]) <= now.timestamp() < int(payload["exp"])
            return UUID(payload["session_id"]) if is_good else None
        except (jwt.InvalidTokenError, ValueError, OverflowError, AttributeError, TypeError):
            return None
