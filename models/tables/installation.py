"""Facts and settings of the installation as a whole."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlmodel import SQLModel

from models.tables.access import ALL, SELECT, UPDATE, shared_table, tenant_table
from models.tables.columns import enumeration, key_text, moment, primary_key, reference, text


class Installation(SQLModel, table=True):
    """One row. Its id tags everything created at a provider, so that two installations never touch each other's."""

    __tablename__ = "installation"
    __table_args__ = shared_table(
        api={SELECT: ("id",)}, worker={SELECT: ALL, UPDATE: ("sweep_mark", "sweep_marked_at")}
    )

    id: UUID = primary_key()
    created_at: datetime = moment(default_now=True)
    payloads_bound_since: datetime = moment(default_now=True)
    """From when on what Temporal keeps is sealed to its place (docs/decisions/0030-sealed-to-their-place.md)."""
    intake_since: datetime | None = moment(nullable=True)
    intake_seen_at: datetime | None = moment(nullable=True)
    """From when to when an API process has taken heartbeats without a gap."""
    sweep_mark: UUID | None = None
    """What the last sweep left here and the sweeper remembers: where they differ, one of the two was restored."""
    sweep_marked_at: datetime | None = moment(nullable=True)


class SettingScope(StrEnum):
    PROVIDER = "provider"
    GLOBAL = "global"


class SettingType(StrEnum):
    INT = "int"
    BOOL = "bool"
    TEXT = "text"


class SettingDefinition(SQLModel, table=True):
    __tablename__ = "settings_definitions"
    __table_args__ = shared_table()

    key: str = key_text()
    scope: SettingScope = enumeration(SettingScope)
    value_type: SettingType = enumeration(SettingType)
    min_int: int | None = None
    max_int: int | None = None
    default_int: int | None = None
    default_bool: bool | None = None
    default_text: str | None = text(nullable=True)
    description: str | None = text(nullable=True)


class GlobalSetting(SQLModel, table=True):
    __tablename__ = "global_settings"
    __table_args__ = shared_table()

    key: str = key_text()
    value_int: int | None = None
    value_bool: bool | None = None
    value_text: str | None = text(nullable=True)
    updated_at: datetime = moment(default_now=True)


class ProviderSetting(SQLModel, table=True):
    __tablename__ = "provider_settings"
    __table_args__ = tenant_table(UniqueConstraint("provider_id", "key", "organization_id"))

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id")
    provider_id: UUID = reference("providers.id")
    key: str = text()
    value_int: int | None = None
    value_bool: bool | None = None
    value_text: str | None = text(nullable=True)
    updated_at: datetime = moment(default_now=True)
