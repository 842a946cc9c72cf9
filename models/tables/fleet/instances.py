"""Instances and what hangs on one: its agent's liveness and tokens, volumes, history of states."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, Computed, Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from models.domain.fleet.billing.segments import PriceSource
from models.domain.fleet.instances.state import AgentPhase, AgentStatus, DesiredStatus, InstanceStatus, OnUnavailable
from models.domain.holds import HoldCode
from models.tables.access import ALL, APPEND, INSERT, READ, SELECT, UPDATE, tenant_table
from models.tables.columns import (
    document,
    document_list,
    enumeration,
    moment,
    open_enumeration,
    price,
    primary_key,
    reference,
    text,
)

VISIBLE_STATUS_SQL = (
    "CASE WHEN desired_status = 'terminated' AND status NOT IN ('draining', 'terminating', 'terminated', 'archived') "
    "THEN 'terminating' ELSE status END"
)

_PROJECTED = (
    "status", "version", "last_projection_id", "generation", "boot_count", "completed_steps", "waiting_on", "waiting_params",
    "waiting_since", "waiting_until", "held_code", "held_since", "machine_spec", "create_attempted_at",
    "provider_instance_id", "endpoint_host", "endpoint_port", "boot_started_at", "ready_at", "failed_at",
    "terminated_at", "last_health_check", "deleted_by_provider", "deletion_reason", "error_code", "error_message",
    "heal_attempts",
)  # fmt: skip

_COMMANDED = (
    "status", "desired_status", "version", "waiting_on", "waiting_params", "waiting_since", "held_code", "held_since",
    "terminated_at", "deletion_reason", "is_archived",
)  # fmt: skip


class Instance(SQLModel, table=True):
    """One machine serving one model. The row is its owner's projection; `desired_status` is what was last asked for.

    `visible_status` is what readers see: an accepted DELETE shows at once, also while no worker runs.
    The offer columns are frozen when the order is accepted; `machine_spec` before the first create. `zone_offers` are those of
    the same type that an order without a zone may go on to (`models.repositories.fleet.zone_offers`).
    """

    __tablename__ = "instances"
    __table_args__ = tenant_table(
        Index("ix_instances_listing", "organization_id", "is_archived", "created_at", "id"),
        Index("ix_instances_counts", "organization_id", "is_archived", "visible_status"),  # few keys, so it is small
        Index("ix_instances_unfinished", "status", postgresql_where="status NOT IN ('terminated', 'archived')"),
        CheckConstraint("generation >= 1", name="generation_positive"),
        worker={SELECT: ALL, UPDATE: _PROJECTED},
        api={SELECT: ALL, INSERT: ALL, UPDATE: _COMMANDED},
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id", index=False)
    created_by_user_id: UUID | None = reference("users.id", nullable=True, index=False)
    provider_id: UUID = reference("providers.id")
    zone_id: UUID | None = reference("zones.id", nullable=True)
    instance_type_id: UUID | None = reference("instance_types.id", nullable=True)
    model_id: UUID | None = reference("models.id", nullable=True)

    status: InstanceStatus = enumeration(InstanceStatus)
    desired_status: DesiredStatus = enumeration(DesiredStatus, default=DesiredStatus.READY)
    visible_status: str | None = Field(
        default=None, sa_column=Column(Text, Computed(VISIBLE_STATUS_SQL, persisted=True), nullable=False)
    )
    version: int = 0
    last_projection_id: UUID | None = None
    generation: int = 1
    boot_count: int = 0
    completed_steps: list[str] = document_list()
    waiting_on: str | None = text(nullable=True)
    waiting_params: dict[str, object] | None = document(nullable=True)
    waiting_since: datetime | None = moment(nullable=True)
    waiting_until: datetime | None = moment(nullable=True)
    held_code: str | None = open_enumeration(HoldCode, column="held_code", nullable=True)
    held_since: datetime | None = moment(nullable=True)

    provider_code: str = text()
    zone_code: str | None = text(nullable=True)
    instance_type_code: str | None = text(nullable=True)
    price_eur_per_hour: Decimal | None = price(nullable=True)
    price_source: PriceSource = enumeration(PriceSource, default=PriceSource.NONE)
    billing_increment_s: int = 1
    billing_minimum_s: int = 0
    on_unavailable: OnUnavailable = enumeration(OnUnavailable, default=OnUnavailable.RESTART_AGENT)
    zone_offers: list[Any] = document_list(default_empty=True)

    machine_spec: dict[str, object] | None = document(nullable=True)
    create_attempted_at: datetime | None = moment(nullable=True)
    provider_instance_id: str | None = text(nullable=True, index=True)
    endpoint_host: str | None = text(nullable=True)
    endpoint_port: int | None = None

    created_at: datetime = moment(default_now=True)
    boot_started_at: datetime | None = moment(nullable=True)
    ready_at: datetime | None = moment(nullable=True)
    failed_at: datetime | None = moment(nullable=True)
    terminated_at: datetime | None = moment(nullable=True)
    last_health_check: datetime | None = moment(nullable=True)
    last_reconciliation: datetime | None = moment(nullable=True)
    is_archived: bool = False
    deleted_by_provider: bool = False
    deletion_reason: str | None = text(nullable=True)
    error_code: str | None = text(nullable=True)
    error_message: str | None = text(nullable=True)
    heal_attempts: int = 0


_JUDGED = (
    "generation", "boot_id", "worker_status", "phase", "slots_busy", "queue_depth", "registered_at", "is_stale",
)  # fmt: skip

_HEARD = (
    "generation", "boot_id", "worker_id", "worker_status", "phase", "worker_model_id", "queue_depth",
    "slots_total", "slots_busy", "gpu_utilization", "agent_version", "report", "registered_at",
    "last_heartbeat_at", "is_stale",
)  # fmt: skip


class InstanceLiveness(SQLModel, table=True):
    """The last word of an instance's node agent, overwritten by every heartbeat (DESIGN 4).

    What a heartbeat changes is not indexed: an update then stays on its page, and a scan of all agents costs a millisecond.
    """

    __tablename__ = "instance_liveness"
    __table_args__ = tenant_table(worker={SELECT: ALL, UPDATE: _JUDGED}, api={SELECT: ALL, INSERT: ALL, UPDATE: _HEARD})

    instance_id: UUID = reference("instances.id", primary=True)
    organization_id: UUID = reference("organizations.id")
    generation: int = 1
    boot_id: str | None = text(nullable=True)
    worker_id: str | None = text(nullable=True)
    worker_status: AgentStatus | None = enumeration(AgentStatus, nullable=True, constraint="workerstatus")
    phase: AgentPhase | None = enumeration(AgentPhase, nullable=True)
    worker_model_id: str | None = text(nullable=True)
    queue_depth: int | None = None
    slots_total: int | None = None
    slots_busy: int | None = None
    gpu_utilization: float | None = None
    agent_version: str | None = text(nullable=True)
    report: dict[str, object] = document()
    registered_at: datetime | None = moment(nullable=True)
    last_heartbeat_at: datetime | None = moment(nullable=True)
    is_stale: bool = False
    doubted_at: datetime | None = moment(nullable=True)
    """When its owner was told to look at the machine, since nothing was heard of the agent after an outage of ours."""


class AgentToken(SQLModel, table=True):
    """What an instance's agent proves itself with, per generation. Hashes only."""

    __tablename__ = "worker_tokens"
    __table_args__ = tenant_table(
        UniqueConstraint("instance_id", "generation"),
        worker={SELECT: ALL, INSERT: ALL, UPDATE: ("bootstrap_expires_at", "revoked_at")},
        api={SELECT: ALL, UPDATE: ("consumed_at", "nonce_hash", "token_hash", "token_prefix", "last_seen_at")},
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id")
    instance_id: UUID = reference("instances.id")
    generation: int
    bootstrap_hash: str = text(unique=True)
    bootstrap_expires_at: datetime = moment()
    consumed_at: datetime | None = moment(nullable=True)
    nonce_hash: str | None = text(nullable=True)
    token_hash: str | None = text(nullable=True, unique=True)
    token_prefix: str | None = text(nullable=True)
    created_at: datetime = moment(default_now=True)
    last_seen_at: datetime | None = moment(nullable=True)
    revoked_at: datetime | None = moment(nullable=True)


class VolumeStatus(StrEnum):
    ATTACHED = "attached"
    DETACHED = "detached"
    DELETING = "deleting"
    DELETED = "deleted"


class InstanceVolume(SQLModel, table=True):
    __tablename__ = "instance_volumes"
    __table_args__ = tenant_table(
        UniqueConstraint("instance_id", "provider_volume_id"),
        worker={
            SELECT: ALL,
            INSERT: ALL,
            UPDATE: ("size_gb", "status", "deleted_at", "reconciled_at", "last_reconciliation"),
        },
        api=READ,
    )

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id")
    instance_id: UUID = reference("instances.id")
    provider_volume_id: str = text()
    name: str = text()
    volume_type: str = text()
    size_gb: int
    is_boot: bool = False
    delete_on_terminate: bool = True
    status: VolumeStatus = enumeration(VolumeStatus, default=VolumeStatus.ATTACHED)
    created_at: datetime = moment(default_now=True)
    attached_at: datetime | None = moment(nullable=True)
    deleted_at: datetime | None = moment(nullable=True)
    reconciled_at: datetime | None = moment(nullable=True)
    last_reconciliation: datetime | None = moment(nullable=True)
    error_message: str | None = text(nullable=True)


class InstanceStateChange(SQLModel, table=True):
    """Every move of an instance, in order of `version`."""

    __tablename__ = "instance_state_history"
    __table_args__ = tenant_table(UniqueConstraint("instance_id", "version"), worker=APPEND, api=APPEND)

    id: UUID = primary_key()
    organization_id: UUID = reference("organizations.id")
    instance_id: UUID = reference("instances.id")
    version: int
    from_status: InstanceStatus | None = enumeration(InstanceStatus, nullable=True, constraint="from_status")
    to_status: InstanceStatus = enumeration(InstanceStatus, constraint="to_status")
    reason: str | None = text(nullable=True)
    extra: dict[str, object] = document()
    created_at: datetime = moment(default_now=True)
