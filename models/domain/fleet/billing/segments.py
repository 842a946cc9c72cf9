"""What a billing segment is for, and where its price is from. What it costs is said in one place: `segment_cost_eur`, in SQL."""

from enum import StrEnum


class UsageKind(StrEnum):
    COMPUTE = "compute"
    VOLUME = "volume"
    IP = "ip"


class PriceSource(StrEnum):
    CATALOG = "catalog"  # the catalogue's price at the moment of the order
    PROVIDER = "provider"  # the provider told the price with the machine
    NONE = "none"  # no price exists: `local` only
