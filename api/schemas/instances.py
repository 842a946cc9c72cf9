"""Instances and orders for them (contract/fleet.md 2.9, 2.11)."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import Field

from api.schemas.base import Eur, Moment, RequestModel, ResponseModel
from api.schemas.operations import HeldRead, OperationRead, WaitingOn
from models.domain.instances.progress import CLIMBING, Step, progress_percent
from models.domain.instances.state import AgentPhase, DesiredStatus, InstanceStatus, OnUnavailable, WorkerStatus
from models.repositories.instance_listing import Row

Name = Annotated[str, Field(max_length=200)]


class DeploymentCreate(RequestModel):
    """An order. What is left out (or empty) is chosen: the cheapest active offer that can serve the model."""

    model_id: Annotated[Name | None, Field(description="Row id, catalogue code or Hugging Face id of the model.")] = (
        None
    )
    provider_code: Name | None = None
    provider_id: Annotated[UUID | None, Field(description="Older clients; wins over `provider_code`.")] = None
    zone: Annotated[Name | None, Field(description="Zone code.")] = None
    instance_type: Annotated[Name | None, Field(description="Type code.")] = None
    on_unavailable: Annotated[OnUnavailable, Field(description="What to do when the node agent falls silent.")] = (
        OnUnavailable.RESTART_AGENT
    )


class DeploymentAccepted(ResponseModel):
    status: Annotated[str, Field(examples=["accepted"])]
    instance_id: UUID
    operation: OperationRead


class DeploymentRefused(ResponseModel):
    """A problem that also names the row which keeps the refusal."""

    type: str
    title: str
    status: Annotated[str, Field(examples=["failed"])]
    detail: str
    error: str
    code: str
    message: str
    details: dict[str, Any]
    request_id: str
    instance_id: UUID


class InstanceCommanded(ResponseModel):
    """`operation` is null when nothing is left to do."""

    status: str
    instance_id: UUID
    operation: OperationRead | None


class StorageRead(ResponseModel):
    id: UUID
    provider_volume_id: str
    name: str
    volume_type: str
    size_gb: int
    is_boot: bool
    status: str
    delete_on_terminate: bool
    created_at: Moment
    attached_at: Moment | None
    deleted_at: Moment | None
    reconciled_at: Moment | None
    last_reconciliation: Moment | None
    error_message: str | None


class InstanceRead(ResponseModel):
    """`cost_per_hour` is the price frozen with the order; `total_cost` follows from the billing segments."""

    id: UUID
    organization_id: UUID
    provider_id: UUID
    zone_id: UUID | None
    instance_type_id: UUID | None
    model_id: UUID | None
    provider_instance_id: str | None
    model_name: str | None
    model_code: str | None
    status: InstanceStatus
    desired_status: DesiredStatus
    ip_address: str | None
    is_archived: bool
    deleted_by_provider: bool
    deletion_reason: str | None
    error_code: str | None
    error_message: str | None
    health_check_failures: int
    progress_percent: int
    completed_steps: list[Step]
    waiting_on: WaitingOn | None
    held: HeldRead | None
    generation: int
    on_unavailable: OnUnavailable
    worker_status: WorkerStatus | None
    worker_phase: AgentPhase | None
    worker_last_heartbeat: Moment | None
    worker_model_id: str | None
    worker_queue_depth: int | None
    worker_slots_busy: int | None
    worker_slots_total: int | None
    worker_gpu_utilization: float | None
    worker_health_port: int | None
    worker_vllm_port: int | None
    worker_metadata: dict[str, Any] | None
    created_at: Moment
    boot_started_at: Moment | None
    ready_at: Moment | None
    failed_at: Moment | None
    terminated_at: Moment | None
    last_health_check: Moment | None
    last_reconciliation: Moment | None
    storage_count: int
    storage_sizes_gb: list[int]
    provider_name: str
    provider_code: str
    region: str
    zone: str
    instance_type: str
    cpu_count: int | None
    ram_gb: int | None
    gpu_vram: int | None
    gpu_count: int | None
    cost_per_hour: Eur | None
    total_cost: Eur


class InstanceDetail(InstanceRead):
    storages: list[StorageRead]


def instance_values(row: Row) -> dict[str, Any]:
    """The fields of `InstanceRead`, written out as they are: the database has typed them, and to validate 200 instances takes
    longer than to find them. The row is used up.
    """
    since, until = row.pop("waiting_since"), row.pop("waiting_until")
    if row["waiting_on"] is not None:
        row["waiting_on"] = {"what": row["waiting_on"], "since": since, "until": until, "why": row["error_message"]}
    held_code, held_since = row.pop("held_code"), row.pop("held_since")
    row["held"] = None if held_code is None else {"code": held_code, "since": held_since}
    report: str | None = row["worker_metadata"]
    if report is not None:
        row["worker_metadata"] = orjson.Fragment(report)
    status, steps = InstanceStatus(row["status"]), row["completed_steps"]
    row["progress_percent"] = progress_percent(status, orjson.loads(steps) if status in CLIMBING else ())
    row["completed_steps"] = orjson.Fragment(steps)
    row["storage_count"] = len(row["storage_sizes_gb"])
    return row
