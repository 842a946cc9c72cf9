"""Who is calling, on behalf of which organization."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from models.domain.identity.grants import Permission
from models.domain.identity.roles import PERMISSIONS, Role, may


@dataclass(frozen=True, slots=True)
class Principal:
    """A session or an API key that was good a moment ago. Every principal acts for exactly one organization."""

    user_id: UUID
    organization_id: UUID
    role: Role
    is_superadmin: bool = False
    session_id: UUID | None = None
    api_key_id: UUID | None = None
    scopes: frozenset[str] = field(default_factory=frozenset)
    expires_at: datetime | None = None

    @property
    def name(self) -> str:
        """A stable name for limits, idempotency and logs; it holds no secret."""
        return f"key:{self.api_key_id}" if self.api_key_id else f"user:{self.user_id}"

    def may(self, permission: Permission) -> bool:
        """True when the role allows it and, for a scoped API key, the key's scopes do too. No scopes means all of the role's."""
        return may(self.role, permission) and (not self.scopes or permission.value in self.scopes)

    def may_as_named(self, permission: str) -> bool:
        """The same of a permission that a row names. One that no family has is nobody's."""
        return any(self.may(known) for known in PERMISSIONS[self.role] if known.value == permission)
