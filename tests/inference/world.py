"""Rows that an inference test needs: an organization with a user and a key, models, ready instances."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import create_engine
from sqlmodel import Session, SQLModel, col, select, update

from models.base.clock import utc_now
from models.base.ids import new_id
from models.domain.identity.api_keys import new_api_key
from models.domain.identity.roles import Role
from models.domain.instances.state import AgentPhase, InstanceStatus, WorkerStatus
from models.repositories.urls import driver_url
from models.tables.catalog import LlmModel, Provider
from models.tables.identity import ApiKey, Membership, Organization, User
from models.tables.inference import InferenceRequest, InferenceResult
from models.tables.instances import Instance, InstanceLiveness

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
        self.provider_id = new_id()
        self.model_id = new_id()
        self._add(
            Provider(id=self.provider_id, code="mock", name="Mock", is_active=True),
            LlmModel(id=self.model_id, code="echo", name="Echo", model_id=MODEL),
        )
        self.tenant = self.add_tenant("first")

    def close(self) -> None:
        self._engine.dispose()

    def add_tenant(self, name: str, role: Role = Role.USER, scopes: list[str] | None = None) -> Tenant:
        key = new_api_key()
        tenant = Tenant(new_id(), new_id(), new_id(), key.plaintext)
        self._add(
            User(id=tenant.user_id, username=name, email=f"{name}@example.org"),
            Organization(id=tenant.organization_id, name=name, slug=name),
        )
        self._add(Membership(organization_id=tenant.organization_id, user_id=tenant.user_id, role=role))
        self._add(
            ApiKey(
                id=tenant.api_key_id,
                organization_id=tenant.organization_id,
                user_id=tenant.user_id,
                name=name,
                key_prefix=key.shown_prefix,
                key_hash=key.hash,
                scopes=scopes or [],
            )
        )
        return tenant

    def add_key(self, tenant: Tenant, name: str) -> Tenant:
        """The same user of the same organization, by another key."""
        key = new_api_key()
        api_key_id = new_id()
        self._add(
            ApiKey(
                id=api_key_id,
                organization_id=tenant.organization_id,
                user_id=tenant.user_id,
                name=name,
                key_prefix=key.shown_prefix,
                key_hash=key.hash,
                scopes=[],
            )
        )
        return Tenant(tenant.organization_id, tenant.user_id, api_key_id, key.plaintext)

    def add_model(self, code: str, model_id: str, *, is_active: bool = True) -> UUID:
        identifier = new_id()
        self._add(LlmModel(id=identifier, code=code, name=code, model_id=model_id, is_active=is_active))
        return identifier

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
        instance_id = new_id()
        instance = Instance(
            id=instance_id,
            organization_id=organization_id,
            provider_id=self.provider_id,
            provider_code="mock",
            model_id=self.model_id,
            status=status,
            generation=generation,
            endpoint_host="127.0.0.1",
            endpoint_port=port,
        )
        liveness = InstanceLiveness(
            instance_id=instance_id,
            organization_id=organization_id,
            generation=generation,
            worker_status=WorkerStatus.READY,
            phase=AgentPhase.SERVING,
            worker_model_id=announced,
            queue_depth=queue_depth,
            report={} if capabilities is None else {"capabilities": capabilities},
            last_heartbeat_at=utc_now() - timedelta(seconds=silent_s),
        )
        with Session(self._engine) as session:
            session.add(instance)
            session.flush()
            session.add(liveness)
            session.commit()
        return instance_id

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
        with Session(self._engine) as session:
            session.add_all(rows)
            session.commit()
