"""Organizations, users, memberships, sessions and API keys."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import SQLModel

from models.domain.identity.roles import Role
from models.tables.access import ALL, INSERT, READ, SELECT, UPDATE, shared_table, tenant_table
from models.tables.columns import document_list, enumeration, moment, primary_key, reference, text


class Organization(SQLModel, table=True):
    """A tenant. `is_personal` marks the organization of one that every user has (contract decision 3)."""

    __tablename__ = "organizations"
    __table_args__ = shared_table(api=READ)

    id: UUID = primary_key()
    name: str = text()
    slug: str = text(unique=True)
    is_personal: bool = False
    allow_registration: bool = False
    domain: str | None = text(nullable=True)
    sidebar_color: str | None = text(nullable=True)
    created_by_user_id: UUID | None = reference("users.id", nullable=True, index=False)
    created_at: datetime = moment(default_now=True)
    updated_at: datetime = moment(default_now=True)


class User(SQLModel, table=True):
    """One person. Usernames and e-mail addresses are stored lower-cased, so that their uniqueness means something."""

    __tablename__ = "users"
    __table_args__ = shared_table(api=READ)

    id: UUID = primary_key()
    username: str = text(unique=True)
    email: str = text(unique=True)
    password_hash: str | None = text(nullable=True)
    is_superadmin: bool = False
    first_name: str | None = text(nullable=True)
    last_name: str | None = text(nullable=True)
    created_at: datetime = moment(default_now=True)
    updated_at: datetime = moment(default_now=True)


class Membership(SQLModel, table=True):
    __tablename__ = "memberships"
    __table_args__ = tenant_table(api=READ)

    organization_id: UUID = reference("organizations.id", primary=True)
    user_id: UUID = reference("users.id", primary=True)
    role: Role = enumeration(Role, default=Role.USER)
    created_at: datetime = moment(default_now=True)


class UserSession(SQLModel, table=True):
    """A sign-in. A token names its row, and only the newest token of a row is good (`token_hash`)."""

    __tablename__ = "user_sessions"
    __table_args__ = tenant_table(Index("ix_user_sessions_created_at", "created_at"))

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id")
    user_id: UUID = reference("users.id")
    token_hash: str = text(unique=True)
    ip_address: str | None = text(nullable=True)
    user_agent: str | None = text(nullable=True)
    created_at: datetime = moment(default_now=True)
    last_used_at: datetime = moment(default_now=True)
    expires_at: datetime = moment()
    revoked_at: datetime | None = moment(nullable=True)


class ApiKey(SQLModel, table=True):
    """A key of an organization and a user. Only its hash is kept; `key_prefix` is what people recognise it by.

    `parent_id` is the key that made it; a key that a person made in a session has none. It ends with its parent.
    """

    __tablename__ = "api_keys"
    __table_args__ = tenant_table(
        Index("ix_api_keys_live", "organization_id", postgresql_where="revoked_at IS NULL"),
        api={SELECT: ALL, INSERT: ALL, UPDATE: ("name", "revoked_at")},
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id")
    user_id: UUID = reference("users.id")
    parent_id: UUID | None = reference("api_keys.id", nullable=True)
    name: str = text()
    key_prefix: str = text()
    key_hash: str = text(unique=True)
    scopes: list[str] = document_list()
    created_at: datetime = moment(default_now=True)
    last_used_at: datetime | None = moment(nullable=True)
    expires_at: datetime | None = moment(nullable=True)
    revoked_at: datetime | None = moment(nullable=True)
