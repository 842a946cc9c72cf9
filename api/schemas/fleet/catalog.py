"""Providers, regions, zones and machine types as they are read (contract/fleet.md 2.14)."""

from typing import Any
from uuid import UUID

from pydantic import Field

from api.schemas.base import Eur, Moment, ResponseModel


class ProviderRead(ResponseModel):
    id: UUID
    name: str
    code: str
    description: str | None
    is_active: bool
    has_adapter: bool = Field(description="Whether machines can be ordered there at all.")
    created_at: Moment


class RegionRead(ResponseModel):
    id: UUID
    provider_id: UUID
    name: str
    code: str
    is_active: bool
    provider_name: str
    provider_code: str


class ZoneRead(ResponseModel):
    id: UUID
    region_id: UUID
    provider_id: UUID
    name: str
    code: str
    is_active: bool
    region_name: str
    region_code: str
    provider_name: str
    provider_code: str


class InstanceTypeRead(ResponseModel):
    id: UUID
    provider_id: UUID
    name: str
    code: str
    gpu_count: int
    vram_per_gpu_gb: int
    cpu_count: int
    ram_gb: int
    bandwidth_bps: int
    is_active: bool
    cost_per_hour: Eur | None = Field(description="The same as `price_eur_per_hour`.")
    price_eur_per_hour: Eur | None = Field(description="Null: without a price, and orderable on `local` only.")
    billing_increment_s: int = Field(description="Use is rounded up to whole multiples of so many seconds.")
    billing_minimum_s: int
    provider_name: str
    provider_code: str

    @classmethod
    def of(cls, row: dict[str, Any]) -> "InstanceTypeRead":
        return cls(cost_per_hour=row["price_eur_per_hour"], **row)


class InstanceTypeZoneRead(ResponseModel):
    instance_type_id: UUID
    zone_id: UUID
    is_available: bool
    zone_name: str
    zone_code: str
    price_eur_per_hour: Eur | None = Field(description="What the type costs in this zone.")
