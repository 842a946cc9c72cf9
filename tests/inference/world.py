"""Rows that an inference test needs: an organization with a user and a key, models, ready instances."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import create_engine
from sqlmodel import Session, SQLModel, col, select, update

from models.base.clock import utc_now
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.identity.roles import Role
from models.repositories.urls import driver_url
from models.tables.fleet.instances import Instance, InstanceLiveness
from models.tables.identity import ApiKey, Membership
from models.tables.inference import InferenceRequest, InferenceResult
from tests.factories import fleet, identity

MODEL = "example/echo-1b"


@dataclass
class Tenant:
    organization_id: UUID
    user_id: UUID
    api_key_id: UUID
    api_key: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"}


class World:
    """Writes and reads as the superuser, behind the product's back."""

    def __init__(self, admin_url: str) -> None:
        self._engine = create_engine(driver_url(admin_url), pool_pre_ping=True)  # tests take the database away
        provider, model = fleet.provider("mock"), fleet.model("echo", model_id=MODEL)
        self._add(provider, model)
        self.provider_id, self.model_id = provider.id, model.id
        self.tenant = self.add_tenant("first")

    def close(self) -> None:
        self._engine.dispose()

    def add_tenant(self, name: str, role: Role = Role.USER, scopes: list[str] | None = None) -> Tenant:
        user = identity.user(username=name, email=f"{name}@example.org")
        organization = identity.organization(name)
        self._add(user, organization)
        self._add(Membership(organization_id=organization.id, user_id=user.id, role=role))
        return self._add_key(organization.id, user.id, name, scopes or [])

    def add_key(self, tenant: Tenant, name: str) -> Tenant:
        """The same user of the same organization, by another key."""
        return self._add_key(tenant.organization_id, tenant.user_id, name, [])

    def _add_key(self, organization_id: UUID, user_id: UUID, name: str, scopes: list[str]) -> Tenant:
        key, plaintext = identity.api_key(organization_id, user_id, name=name, scopes=scopes)
        self._add(key)
        return Tenant(organization_id, user_id, key.id, plaintext)

    def add_model(self, code: str, model_id: str, *, is_active: bool = True) -> UUID:
        row = fleet.model(code, model_id=model_id, is_active=is_active)
        self._add(row)
        return row.id

    def add_instance(
        self,
        port: int,
        *,
        tenant: Tenant | None = None,
        status: InstanceStatus = InstanceStatus.READY,
        announced: str = MODEL,
        queue_depth: int | None = 0,
        silent_s: float = 0.0,
        generation: int = 1,
        capabilities: dict[str, Any] | None = None,
    ) -> UUID:
        organization_id = (tenant or self.tenant).organization_id
        instance = fleet.instance(
            organization_id, self.provider_id, status, model_id=self.model_id, generation=generation,
            endpoint_host="127.0.0.1", endpoint_port=port,
        )  # fmt: skip
        liveness = fleet.serving(
            instance, announced, queue_depth=queue_depth, last_heartbeat_at=utc_now() - timedelta(seconds=silent_s),
            report={} if capabilities is None else {"capabilities": capabilities},
        )  # fmt: skip
        self._add(instance)
        self._add(liveness)
        return instance.id

    def change_instance(self, instance_id: UUID, **values: Any) -> None:
        with Session(self._engine) as session:
            session.execute(update(Instance).where(col(Instance.id) == instance_id).values(**values))
            session.commit()

    def beat(self, at: datetime) -> None:
        """Every agent is heard of."""
        with Session(self._engine) as session:
            session.execute(update(InstanceLiveness).values(last_heartbeat_at=at))
            session.commit()

    def change_key(self, api_key_id: UUID, **values: Any) -> None:
        with Session(self._engine) as session:
            session.execute(update(ApiKey).where(col(ApiKey.id) == api_key_id).values(**values))
            session.commit()

    def requests(self) -> list[InferenceRequest]:
        with Session(self._engine) as session:
            return list(session.exec(select(InferenceRequest).order_by(col(InferenceRequest.started_at))))

    def results(self) -> list[InferenceResult]:
        with Session(self._engine) as session:
            return list(session.exec(select(InferenceResult)))

    def _add(self, *rows: SQLModel) -> None:
        with Session(self._engine, expire_on_commit=False) as session:
            session.add_all(rows)
            session.commit()
