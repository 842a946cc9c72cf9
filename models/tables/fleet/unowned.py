"""What reconciling found: machines that nobody looks after, and how the lists of providers fare."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlmodel import SQLModel

from models.domain.fleet.instances.unowned import UnownedReason
from models.tables.access import ALL, INSERT, SELECT, UPDATE, shared_table
from models.tables.columns import enumeration, key_text, moment, price, text


class UnownedMachine(SQLModel, table=True):
    """A machine with our tag that no owner looks after, from when it was found until it is gone or has an owner.

    It belongs to the installation. `instance_id` is what its tag says: there may be no such row.
    """

    __tablename__ = "unowned_machines"
    __table_args__ = shared_table(worker={SELECT: ALL, UPDATE: ("end_requested_at",)})

    provider_queue: str = key_text()
    provider_instance_id: str = key_text()
    reason: UnownedReason = enumeration(UnownedReason)
    zone: str = text()
    instance_type: str = text()
    name: str = text()
    instance_id: UUID | None = None
    price_eur_per_hour: Decimal | None = price(nullable=True)
    created_at: datetime = moment()
    """When the machine was made, by the provider's clock."""
    found_at: datetime = moment(default_now=True)
    end_requested_at: datetime | None = moment(nullable=True)


class MachineListing(SQLModel, table=True):
    """The last list of a provider's machines, and since when there is none."""

    __tablename__ = "machine_listings"
    __table_args__ = shared_table(
        worker={
            SELECT: ALL,
            INSERT: ALL,
            UPDATE: ("completed_at", "machines", "failures", "failing_since", "error_code"),
        }
    )

    provider_queue: str = key_text()
    completed_at: datetime | None = moment(nullable=True)
    machines: int = 0
    failures: int = 0
    """In a row."""
    failing_since: datetime | None = moment(nullable=True)
    error_code: str | None = text(nullable=True)
