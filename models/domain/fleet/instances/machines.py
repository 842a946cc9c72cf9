"""A machine, its volumes and what it is told at boot: the words that owners, activities and adapters share."""

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict

INSTALLED_GENERATION: Final = "installed_generation"
"""Of a boot that a provider refuses because a later one is installed: which, in the details of the refusal."""


class MachineState(StrEnum):
    PENDING = "pending"  # accepted, not running yet
    RUNNING = "running"
    FAILED = "failed"  # the provider gave up on it; it exists and may be billed until deleted
    DELETING = "deleting"  # still exists, still billed
    PREEMPTED = "preempted"  # taken back by the provider; gone or going


class MachineSpec(BaseModel):
    """Everything that decides what is created, frozen on the instance row before the first try.

    A retry sends it byte for byte again. `machine_key` is the idempotency key of the create: a token where the provider has
    one, otherwise a unique tag that the adapter looks for before it creates. An order that goes on to another zone keeps its key:
    a machine that an unanswered create made in an earlier one is found. Where a token is bound to its parameters, the adapter
    adds the zone to it, and looks for the tag in every zone.
    """

    model_config = ConfigDict(frozen=True)

    installation_id: UUID
    organization_id: UUID
    instance_id: UUID
    machine_key: str
    name: str
    zone: str
    instance_type: str
    image: str | None = None
    model_id: str
    model_code: str
    model_file: str | None = None
    slots: int = 1
    context_length: int = 2048
    data_volume_gb: int = 0
    heartbeat_interval_s: float = 4.0


class BootData(BaseModel):
    """What a machine is told at its first start (user data). It holds a secret: it never enters a payload, log or argv."""

    instance_id: UUID
    control_plane_url: str
    bootstrap_token: str
    generation: int
    model_id: str
    model_code: str
    model_file: str | None = None
    slots: int = 1
    context_length: int = 2048
    heartbeat_interval_s: float = 4.0


class Machine(BaseModel):
    """A machine as the provider describes it. Times are the provider's clock: billing follows them."""

    provider_instance_id: str
    instance_id: UUID | None = None  # from our tag; None for a machine that is not ours
    machine_key: str | None = None
    name: str
    zone: str
    instance_type: str
    state: MachineState
    created_at: datetime
    billed_from: datetime | None = None
    billed_until: datetime | None = None
    host: str | None = None
    port: int | None = None
    price_eur_per_hour: str | None = None  # Decimal as text, where the provider tells it
    error: str | None = None  # a short reason of ours, never the vendor's page
    is_agent_running: bool | None = None
    """Where the provider can tell for sure, as `local` can; None elsewhere. False is proof, which silence is not."""


class MachinesPage(BaseModel):
    """A part of what a provider lists of an installation."""

    machines: list[Machine]
    foreign: int = 0
    """Machines that the provider showed although they do not carry the installation's tag: left out."""
    next_cursor: str | None = None
    """Where the next page begins, in the provider's words; None after the last."""


class Volume(BaseModel):
    provider_volume_id: str
    name: str
    volume_type: str
    size_gb: int
    is_boot: bool
    delete_on_terminate: bool
    attached_to: str | None = None
    zone: str | None = None  # where it was listed
    created_at: datetime
    billed_from: datetime | None = None
    billed_until: datetime | None = None
    price_eur_per_hour: str | None = None  # Decimal as text, where the provider bills it apart
    billing_increment_s: int = 1
    billing_minimum_s: int = 0


class Ended(BaseModel):
    """A machine (or volume) that the provider confirms to be gone, with the time that it was billed for, where it tells it."""

    provider_id: str
    billed_from: datetime | None = None
    billed_until: datetime | None = None


class OfferedType(BaseModel):
    code: str
    name: str
    zone: str
    gpu_count: int
    vram_per_gpu_gb: int
    cpu_count: int
    ram_gb: int
    bandwidth_bps: int = 0
    price_eur_per_hour: str | None = None
    is_available: bool = True
