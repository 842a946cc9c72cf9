"""Rows as the product would have left them, written behind its back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import create_engine
from sqlmodel import Session, SQLModel, col, select

from models.base.clock import utc_now
from models.base.ids import new_id
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.fleet.operations import OperationKind
from models.domain.operations import OperationStatus
from models.repositories.urls import driver_url
from models.tables.fleet.catalog import InstanceType, InstanceTypeZone, LlmModel, Provider, Region, Zone
from models.tables.fleet.instances import Instance
from models.tables.operations import Operation
from tests.factories import fleet, operations
from tests.servers import TestDatabase

R = TypeVar("R", bound=SQLModel)


class Rows:
    """Reads and writes as the superuser: no row-level security is between a test and what it wants to see."""

    def __init__(self, database: TestDatabase) -> None:
        self._engine = create_engine(driver_url(database.admin), pool_pre_ping=True)

    def close(self) -> None:
        self._engine.dispose()

    def add(self, *rows: SQLModel) -> None:
        """In this order: a row may refer to one before it."""
        with Session(self._engine, expire_on_commit=False) as session:
            for row in rows:
                session.add(row)
                session.flush()
            session.commit()

    def all(self, table: type[R], **wanted: object) -> list[R]:
        """Every row with these values, oldest first where the table has an `id`."""
        statement = select(table).where(*(col(getattr(table, name)) == value for name, value in wanted.items()))
        if "id" in table.model_fields:
            statement = statement.order_by(col(table.id))  # type: ignore[attr-defined]
        with Session(self._engine, expire_on_commit=False) as session:
            return list(session.exec(statement))

    def one(self, table: type[R], **wanted: object) -> R:
        [row] = self.all(table, **wanted)
        return row

    def change(self, row: SQLModel, **values: object) -> None:
        with Session(self._engine) as session:
            for name, value in values.items():
                setattr(row, name, value)
            session.merge(row)
            session.commit()

    def instance(
        self,
        organization_id: UUID,
        status: InstanceStatus = InstanceStatus.READY,
        *,
        provider: str = "mock",
        **columns: Any,
    ) -> Instance:
        """An instance whose machine was never asked for, unless the columns say so."""
        provider_id = self.one(Provider, code=provider).id
        row = fleet.instance(organization_id, provider_id, status, **{"provider_code": provider, **columns})
        self.add(row)
        return row

    def machine(self, organization_id: UUID, status: InstanceStatus = InstanceStatus.READY, **columns: Any) -> Instance:
        """An instance whose provider has given it a machine with an address."""
        defaults: dict[str, Any] = {
            "create_attempted_at": utc_now() - timedelta(minutes=5),
            "provider_instance_id": f"i-{new_id()}",
            "endpoint_host": "127.0.0.1",
            "endpoint_port": 1,
        }
        return self.instance(organization_id, status, **defaults | columns)

    def operation(
        self,
        instance: Instance,
        kind: OperationKind = OperationKind.INSTANCE_PROVISION,
        status: OperationStatus = OperationStatus.PENDING,
        **columns: Any,
    ) -> Operation:
        row = operations.operation(instance, kind, status, **columns)
        self.add(row)
        return row

    def offer(self, provider: Provider, zone: Zone, code: str, **columns: Any) -> InstanceType:
        """A type that can be ordered in the zone, with the memory and price of `columns`."""
        kind = InstanceType(id=new_id(), provider_id=provider.id, code=code, name=code, **columns)
        self.add(kind, InstanceTypeZone(instance_type_id=kind.id, zone_id=zone.id))
        return kind

    def market(self, code: str, *, is_active: bool = True, has_adapter: bool = True) -> tuple[Provider, Zone]:
        """A provider with one region and one zone, `<code>-1`."""
        provider = fleet.provider(code, is_active=is_active, has_adapter=has_adapter)
        region = Region(id=new_id(), provider_id=provider.id, code=code, name=f"Region {code}")
        zone = Zone(id=new_id(), provider_id=provider.id, region_id=region.id, code=f"{code}-1", name=f"Zone {code}")
        self.add(provider, region, zone)
        return provider, zone

    def model(self, code: str, required_vram_gb: int, **columns: Any) -> LlmModel:
        row = fleet.model(code, required_vram_gb=required_vram_gb, **columns)
        self.add(row)
        return row
