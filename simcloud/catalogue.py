"""What the cloud offers: zones, machine types, and what one type costs and how many of it there are in one zone.

Shapes and prices follow public price lists of 2025 (EUR per hour, without tax); the names are the simulation's own.
"""

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from simcloud.database import Database
from simcloud.errors import Rejected
from simcloud.meter import Terms


@dataclass(frozen=True)
class Zone:
    code: str
    name: str
    region: str


@dataclass(frozen=True)
class MachineType:
    code: str
    name: str
    gpu_count: int
    vram_per_gpu_gb: int
    cpu_count: int
    ram_gb: int
    bandwidth_bps: int
    boot_volume_gb: int  # 0: a local disk that comes with the machine and is not billed
    billing_increment_s: int = 1
    billing_minimum_s: int = 0

    @property
    def terms(self) -> Terms:
        return Terms(self.billing_increment_s, self.billing_minimum_s)


@dataclass(frozen=True)
class Offer:
    """One type in one zone. A change of price touches only machines made after it."""

    type: str
    zone: str
    price_eur_per_hour: str
    capacity: int
    is_available: bool


GBPS = 1_000_000_000
VOLUME_PRICE_EUR_PER_GB_HOUR = Decimal("0.000059")
ZONES = (Zone("local", "Local", "local"), Zone("sim-b", "Simulated B", "local"))
TYPES = (
    MachineType("mock-local-instance", "Mock local instance", 1, 2, 4, 8, GBPS, 0),
    MachineType("sim-l4-1-24g", "Simulated L4 24 GB", 1, 24, 8, 48, 2_500_000_000, 20),
    MachineType("sim-l40s-1-48g", "Simulated L40S 48 GB", 1, 48, 8, 96, 2_500_000_000, 20),
    MachineType("sim-h100-1-80g", "Simulated H100 80 GB", 1, 80, 24, 240, 10 * GBPS, 40),
)
OFFERS = (
    Offer("mock-local-instance", "local", "0", 10_000, is_available=True),
    Offer("sim-l4-1-24g", "local", "0.75", 64, is_available=True),
    Offer("sim-l40s-1-48g", "local", "1.3999", 16, is_available=True),
    Offer("sim-h100-1-80g", "local", "2.73", 8, is_available=True),
    Offer("mock-local-instance", "sim-b", "0", 10_000, is_available=True),
    Offer("sim-l4-1-24g", "sim-b", "0.79", 16, is_available=True),
    Offer("sim-h100-1-80g", "sim-b", "2.95", 4, is_available=True),
)
ZONES_BY_CODE = {zone.code: zone for zone in ZONES}
TYPES_BY_CODE = {machine_type.code: machine_type for machine_type in TYPES}


class Offers:
    """The price list as it is now, kept in the database so that a changed price outlives a restart."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.seed()

    def seed(self) -> None:
        """Add what the list lacks; a price changed earlier stays."""
        self._database.run_many(
            "INSERT OR IGNORE INTO offers VALUES (?, ?, ?, ?, ?)",
            [(o.type, o.zone, o.price_eur_per_hour, o.capacity, o.is_available) for o in OFFERS],
        )

    def get(self, type_code: str, zone_code: str) -> Offer:
        """Raises Rejected for a zone or type that does not exist, or a type that the zone has not."""
        if zone_code not in ZONES_BY_CODE:
            raise Rejected(f"there is no zone {zone_code!r}")
        row = self._database.row("SELECT * FROM offers WHERE type = ? AND zone = ?", type_code, zone_code)
        if row is None:
            raise Rejected(f"zone {zone_code!r} has no machine type {type_code!r}")
        return _offer(row)

    def in_zone(self, zone_code: str | None) -> list[Offer]:
        if zone_code is None:
            return [_offer(row) for row in self._database.rows("SELECT * FROM offers ORDER BY zone, type")]
        if zone_code not in ZONES_BY_CODE:
            raise Rejected(f"there is no zone {zone_code!r}")
        rows = self._database.rows("SELECT * FROM offers WHERE zone = ? ORDER BY type", zone_code)
        return [_offer(row) for row in rows]

    def free(self, offer: Offer) -> int:
        """How many more machines of this type the zone can hold now."""
        row = self._database.row(
            "SELECT count(*) AS taken FROM machines WHERE type = ? AND zone = ? AND ended_at IS NULL",
            offer.type,
            offer.zone,
        )
        return max(0, offer.capacity - (row["taken"] if row else 0))

    def change(self, type_code: str, zone_code: str, *, price: Decimal, capacity: int, is_available: bool) -> Offer:
        self.get(type_code, zone_code)
        self._database.run(
            "UPDATE offers SET price_eur_per_hour = ?, capacity = ?, is_available = ? WHERE type = ? AND zone = ?",
            str(price),
            capacity,
            is_available,
            type_code,
            zone_code,
        )
        return self.get(type_code, zone_code)

    def shown(self, offer: Offer) -> dict[str, Any]:
        """One line of the public price list."""
        free = self.free(offer)
        return asdict(TYPES_BY_CODE[offer.type]) | {
            "zone": offer.zone,
            "price_eur_per_hour": offer.price_eur_per_hour,
            "capacity": offer.capacity,
            "free": free,
            "is_available": offer.is_available and free > 0,
        }


def _offer(row: dict[str, Any]) -> Offer:
    return Offer(
        row["type"], row["zone"], row["price_eur_per_hour"], row["capacity"], is_available=bool(row["is_available"])
    )
