"""The ledger: a segment opens and closes with the thing that is billed, on the provider's clock."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import SQLModel

from models.domain.fleet.billing.segments import PriceSource, UsageKind
from models.tables.access import ALL, INSERT, READ, SELECT, UPDATE, tenant_table
from models.tables.columns import enumeration, identifier, moment, price, primary_key, reference, text


class BillingSegment(SQLModel, table=True):
    """`provider_resource_id` and `opened_at` make a segment unique: opening it again is the same segment.

    What is billed for an instance names it as such or as a resource; the database sees to it that both are there.
    """

    __tablename__ = "billing_segments"
    __table_args__ = tenant_table(
        UniqueConstraint("instance_id", "provider_resource_id", "opened_at"),
        UniqueConstraint("resource_id", "provider_resource_id", "opened_at", name="billing_segments_resource"),
        CheckConstraint("billing_increment_s >= 1", name="billing_increment_s_positive"),
        worker={SELECT: ALL, INSERT: ALL, UPDATE: ("closed_at", "close_reason")},
        api=READ,
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id")
    instance_id: UUID | None = reference("instances.id", nullable=True)
    resource_kind: str = text()
    resource_id: UUID = identifier()
    provider_resource_id: str = text()
    usage_kind: UsageKind = enumeration(UsageKind)
    price_eur_per_hour: Decimal = price()
    price_source: PriceSource = enumeration(PriceSource)
    billing_increment_s: int = 1
    billing_minimum_s: int = 0
    opened_at: datetime = moment()
    closed_at: datetime | None = moment(nullable=True)
    close_reason: str | None = text(nullable=True)
    created_at: datetime = moment(default_now=True)
