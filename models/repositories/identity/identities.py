"""Who is behind a token: the source of the identity replica, and sign-in before any tenant is known."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import dict_row
from sqlalchemy import bindparam, text
from sqlalchemy.dialects import postgresql
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.ids import new_id
from models.domain.identity.principal import Principal
from models.domain.identity.roles import Role
from models.repositories.listener import Connection
from models.repositories.replica import Entry

CHANNEL = "identities"
SESSIONS = "user_sessions"
API_KEYS = "api_keys"
OF_A_USER = frozenset({"users", "memberships"})
"""Payloads are `table:id`; for these tables the id is a user's, whose sessions and keys are all affected."""

_UUIDS = postgresql.ARRAY(postgresql.UUID)
_TIMES = postgresql.ARRAY(postgresql.TIMESTAMP(timezone=True))
LOAD = "SELECT * FROM load_identities()"
LOAD_OF = "SELECT * FROM load_identities_of(%(ids)s::uuid[], %(user_ids)s::uuid[])"
TOUCH = text("SELECT touch_identities(:session_ids, :session_times, :key_ids, :key_times)").bindparams(
    bindparam("session_ids", type_=_UUIDS),
    bindparam("session_times", type_=_TIMES),
    bindparam("key_ids", type_=_UUIDS),
    bindparam("key_times", type_=_TIMES),
)
FIND_SIGN_IN = text("SELECT * FROM find_sign_in(:login)")
ENSURE_PERSONAL = text("SELECT ensure_personal_organization(:user_id, :new_id)")
OPEN_SESSION = text(
    "SELECT open_session(:session_id, :user_id, :organization_id, :password_hash, :token_hash,"
    " :ip_address, :user_agent, :expires_at)"
)
REVOKE_SESSION = text("SELECT revoke_session(:token_hash)")


class IdentitySource:
    """Live sessions and API keys as principals, keyed by the hash of the token."""

    async def load_all(self, connection: Connection) -> Iterable[Entry[str, Principal]]:
        return await _entries(connection, LOAD, {})

    async def load_some(self, connection: Connection, tags: frozenset[str]) -> Iterable[Entry[str, Principal]]:
        ids: list[UUID] = []
        user_ids: list[UUID] = []
        for tag in tags:
            table, _, text_id = tag.partition(":")
            try:
                (user_ids if table in OF_A_USER else ids).append(UUID(text_id))
            except ValueError:
                continue  # anyone who may connect may notify: what names no row is no news
        return await _entries(connection, LOAD_OF, {"ids": ids, "user_ids": user_ids})


async def _entries(
    connection: Connection, statement: LiteralString, values: Mapping[str, object]
) -> list[Entry[str, Principal]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, values)
        return [_entry(row) async for row in cursor]


def _entry(row: Mapping[str, Any]) -> Entry[str, Principal]:
    source, own_id, user_id = row["source"], row["id"], row["user_id"]
    principal = Principal(
        user_id=user_id,
        organization_id=row["organization_id"],
        role=Role(row["role"]),
        is_superadmin=row["is_superadmin"],
        session_id=own_id if source == SESSIONS else None,
        api_key_id=own_id if source == API_KEYS else None,
        scopes=frozenset(row["scopes"]),
        expires_at=row["expires_at"],
    )
    tags = frozenset({f"{source}:{own_id}", *(f"{table}:{user_id}" for table in OF_A_USER)})
    return Entry(row["token_hash"], principal, tags)


@dataclass(frozen=True, slots=True)
class SignIn:
    """The person behind a login, and the organization that they would start in: the one of their latest session that is not
    revoked, else the first that is not personal, else their own; None before they have any.
    """

    user_id: UUID
    email: str
    username: str
    first_name: str | None
    last_name: str | None
    password_hash: str | None = field(repr=False)
    is_superadmin: bool
    has_personal_organization: bool
    organization_id: UUID | None
    organization_role: Role | None


async def find_sign_in(session: AsyncSession, login: str) -> SignIn | None:
    """By e-mail address or username, lower-cased; an address wins over a username that looks like it."""
    row = (await session.execute(FIND_SIGN_IN, {"login": login})).mappings().one_or_none()
    if row is None:
        return None
    role = row["organization_role"]
    return SignIn(**{**row, "organization_role": None if role is None else Role(role)})


async def ensure_personal_organization(session: AsyncSession, user_id: UUID) -> UUID:
    """The organization of one of this user (contract decision 3), made if it is missing; the user is its owner."""
    result = await session.execute(ENSURE_PERSONAL, {"user_id": user_id, "new_id": new_id()})
    organization_id: UUID = result.scalar_one()
    return organization_id


@dataclass(frozen=True, slots=True)
class NewSession:
    session_id: UUID
    user_id: UUID
    organization_id: UUID
    password_hash: str = field(repr=False)
    token_hash: str = field(repr=False)
    ip_address: str | None
    user_agent: str | None
    expires_at: datetime


async def open_session(session: AsyncSession, new: NewSession) -> bool:
    """False, and no session, if the password or the membership changed since they were looked at."""
    parameters = {name: getattr(new, name) for name in NewSession.__dataclass_fields__}
    opened: bool = (await session.execute(OPEN_SESSION, parameters)).scalar_one()
    return opened


async def revoke_session(session: AsyncSession, token_hash: str) -> bool:
    """True if this ended a live session."""
    revoked: bool = (await session.execute(REVOKE_SESSION, {"token_hash": token_hash})).scalar_one()
    return revoked


async def touch(session: AsyncSession, sessions: Mapping[UUID, datetime], keys: Mapping[UUID, datetime]) -> None:
    """Record when sessions and API keys were last used; an older moment than the stored one changes nothing."""
    parameters = {
        "session_ids": list(sessions),
        "session_times": list(sessions.values()),
        "key_ids": list(keys),
        "key_times": list(keys.values()),
    }
    await session.execute(TOUCH, parameters)
