"""Instances and orders for them (contract/fleet.md 2.9, 2.11)."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import Field

from api.schemas.base import RequestModel, ResponseModel
from api.schemas.operations import HeldRead, OperationRead
from api.schemas.waiting_on import Span, WaitingOn, waiting_on
from models.domain.fleet.instances.progress import CLIMBING, Step, progress_percent
from models.domain.fleet.instances.state import InstanceStatus, OnUnavailable
from models.repositories.fleet.instances.listing import InstanceRow, InstanceSources, ListedInstance, StorageRow

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
    on_unavailable: Annotated[
        OnUnavailable,
        Field(
            description="What to do when the node agent falls silent; a provider that cannot is not taken. "
            "Left out where nothing of the provider can be started again: `wait`."
        ),
    ] = OnUnavailable.RESTART_AGENT


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


class StorageRead(StorageRow):
    """A volume of an instance."""


class InstanceRead(InstanceRow):
    """`cost_per_hour` is the price frozen with the order; `total_cost` follows from the billing segments."""

    progress_percent: int
    completed_steps: list[Step]
    waiting_on: WaitingOn | None
    held: HeldRead | None
    worker_metadata: dict[str, Any] | None
    storage_count: int


class InstanceDetail(InstanceRead):
    storages: list[StorageRead]


def settled(commanded: dict[str, Any]) -> dict[str, Any]:
    """An `InstanceCommanded` whose operation has ended: `status` is what came of it."""
    result = commanded["operation"]["result"] or {}
    return {**commanded, "status": result.get("status", commanded["status"])}


def instance_values(listed: ListedInstance) -> dict[str, Any]:
    """The fields of `InstanceRead`, written out as they are: the database has typed them, and to validate 200 instances takes
    longer than to find them. The row is used up.
    """
    values, made_of = listed.shown, listed.sources
    status, steps = InstanceStatus(values["status"]), made_of.completed_steps
    values["progress_percent"] = progress_percent(status, orjson.loads(steps) if status in CLIMBING else ())
    values["completed_steps"] = orjson.Fragment(steps)
    values["waiting_on"] = _waiting_on(made_of, values["error_message"])
    held = made_of.held_code
    values["held"] = None if held is None else {"code": held, "since": made_of.held_since}
    values["worker_metadata"] = None if made_of.report is None else orjson.Fragment(made_of.report)
    values["storage_count"] = len(values["storage_sizes_gb"])
    return values


def _waiting_on(made_of: InstanceSources, why: str | None) -> dict[str, Any] | None:
    if made_of.waiting_on is None:
        return None
    params = None if made_of.waiting_params is None else orjson.loads(made_of.waiting_params)
    span = Span(made_of.waiting_since, made_of.waiting_until)
    return waiting_on(made_of.waiting_on, params, span, why=why)
