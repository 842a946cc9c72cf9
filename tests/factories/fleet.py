"""Providers, models and instances as their owners would have left them, as rows that nobody has written yet."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from models.base.clock import utc_now
from models.base.ids import new_id
from models.domain.fleet.instances.state import AgentPhase, AgentStatus, DesiredStatus, InstanceStatus
from models.tables.fleet.catalog import LlmModel, Provider
from models.tables.fleet.instances import Instance, InstanceLiveness


def provider(code: str = "mock", **columns: Any) -> Provider:
    return Provider(id=new_id(), **{"code": code, "name": code, "is_active": True, "has_adapter": True, **columns})


def model(code: str, **columns: Any) -> LlmModel:
    return LlmModel(id=new_id(), **{"code": code, "name": code, "model_id": f"example/{code}", **columns})


def instance(
    organization_id: UUID, provider_id: UUID, status: InstanceStatus = InstanceStatus.READY, **columns: Any
) -> Instance:
    """One whose machine was never asked for, unless the columns say so."""
    defaults: dict[str, Any] = {
        "id": new_id(), "provider_code": "mock", "is_archived": status is InstanceStatus.ARCHIVED,
    }  # fmt: skip
    if status in {InstanceStatus.TERMINATED, InstanceStatus.ARCHIVED}:
        defaults |= {"desired_status": DesiredStatus.TERMINATED, "terminated_at": utc_now()}
    return Instance(organization_id=organization_id, provider_id=provider_id, status=status, **defaults | columns)


def serving(of: Instance, model_id: str, **columns: Any) -> InstanceLiveness:
    """The last word of the instance's agent: it serves the model, and is heard just now."""
    defaults: dict[str, Any] = {
        "worker_status": AgentStatus.READY, "phase": AgentPhase.SERVING, "worker_model_id": model_id, "queue_depth": 0,
        "last_heartbeat_at": utc_now(),
    }  # fmt: skip
    return InstanceLiveness(
        instance_id=of.id, organization_id=of.organization_id, generation=of.generation, **defaults | columns
    )
