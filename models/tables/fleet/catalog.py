"""The catalogue: what can be ordered, where, at which price. It belongs to the installation, not to a tenant."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlmodel import SQLModel

from models.tables.access import READ, shared_table
from models.tables.columns import big_integer, document, key_text, moment, price, primary_key, reference, text


class Provider(SQLModel, table=True):
    __tablename__ = "providers"
    __table_args__ = shared_table(api=READ)

    id: UUID = primary_key()
    code: str = text(unique=True)
    name: str = text(unique=True)
    description: str | None = text(nullable=True)
    is_active: bool = False
    has_adapter: bool = True
    created_at: datetime = moment(default_now=True)


class Region(SQLModel, table=True):
    __tablename__ = "regions"
    __table_args__ = shared_table(
        UniqueConstraint("provider_id", "code"), UniqueConstraint("provider_id", "name"), api=READ
    )

    id: UUID = primary_key()
    provider_id: UUID = reference("providers.id")
    code: str = text()
    name: str = text()
    is_active: bool = True


class Zone(SQLModel, table=True):
    __tablename__ = "zones"
    __table_args__ = shared_table(UniqueConstraint("provider_id", "code"), api=READ)

    id: UUID = primary_key()
    provider_id: UUID = reference("providers.id")
    region_id: UUID = reference("regions.id")
    code: str = text()
    name: str = text()
    is_active: bool = True


class InstanceType(SQLModel, table=True):
    __tablename__ = "instance_types"
    __table_args__ = shared_table(
        UniqueConstraint("provider_id", "code"),
        UniqueConstraint("provider_id", "name"),
        CheckConstraint("billing_increment_s >= 1", name="billing_increment_s_positive"),
        CheckConstraint("billing_minimum_s >= 0", name="billing_minimum_s_not_negative"),
        worker=READ,
        api=READ,
    )

    id: UUID = primary_key()
    provider_id: UUID = reference("providers.id")
    code: str = text()
    name: str = text()
    gpu_count: int = 0
    vram_per_gpu_gb: int = 0
    cpu_count: int = 0
    ram_gb: int = 0
    bandwidth_bps: int = big_integer()
    price_eur_per_hour: Decimal | None = price(nullable=True)
    billing_increment_s: int = 1
    billing_minimum_s: int = 0
    is_active: bool = True
    allocation_params: dict[str, object] = document()


class InstanceTypeZone(SQLModel, table=True):
    """A type offered in a zone. `price_eur_per_hour` is set only where the zone's price differs from the type's."""

    __tablename__ = "instance_type_zones"
    __table_args__ = shared_table(api=READ)

    instance_type_id: UUID = reference("instance_types.id", primary=True)
    zone_id: UUID = reference("zones.id", primary=True)
    is_available: bool = True
    price_eur_per_hour: Decimal | None = price(nullable=True)
    created_at: datetime = moment(default_now=True)
    updated_at: datetime = moment(default_now=True)


class LlmModel(SQLModel, table=True):
    """A model that can be served. `model_id` is the Hugging Face id that callers and servers use, `code` the short name."""

    __tablename__ = "models"
    __table_args__ = shared_table(Index("ix_models_is_active", "is_active"), worker=READ, api=READ)

    id: UUID = primary_key()
    code: str = text(unique=True)
    name: str = text()
    model_id: str = text(unique=True)
    required_vram_gb: int = 0
    context_length: int = 2048
    data_volume_gb: int | None = None
    model_file: str | None = text(nullable=True)
    is_active: bool = True
    extra: dict[str, object] = document()
    created_at: datetime = moment(default_now=True)
    updated_at: datetime = moment(default_now=True)


class ActionType(SQLModel, table=True):
    __tablename__ = "action_types"
    __table_args__ = shared_table(api=READ)

    code: str = key_text()
    label: str = text()
    icon: str | None = text(nullable=True)
    color_class: str | None = text(nullable=True)
    category: str | None = text(nullable=True)
    is_active: bool = True
