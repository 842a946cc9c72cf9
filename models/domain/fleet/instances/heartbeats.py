"""What a node agent reports of itself, with figures that no sensor fault can push out of bounds (contract/fleet.md 5.1, 5.3)."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from models.domain.fleet.instances.state import AgentPhase, AgentStatus

LARGEST_BYTES = 2**62
"""More than any machine has, and still a `bigint`."""

COLDEST_C, HOTTEST_C = -50.0, 150.0

LARGEST_FIGURE = 1e9
"""For a load, megabytes or watts: more than any machine has, and still a number of which sums and averages can be made."""


class Outcome(StrEnum):
    """What became of one heartbeat."""

    OK = "ok"
    UNAUTHORIZED = "unauthorized"  # no token of the instance's present generation
    NOT_FOUND = "not_found"  # no such instance, or none any more
    MODEL_MISMATCH = "model_mismatch"  # it announces a model that it was not given
    BUSY = "busy"  # somebody holds the row of this agent; those of others were written


@dataclass(frozen=True)
class SystemFigures:
    cpu_usage_pct: float | None = None
    load1: float | None = None
    mem_used_bytes: int | None = None
    mem_total_bytes: int | None = None
    disk_used_bytes: int | None = None
    disk_total_bytes: int | None = None
    net_rx_bps: int | None = None  # bytes per second
    net_tx_bps: int | None = None


@dataclass(frozen=True)
class GpuFigures:
    gpu_index: int
    gpu_utilization: float | None = None
    vram_used_mb: float | None = None
    vram_total_mb: float | None = None
    temp_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None


@dataclass(frozen=True)
class Heartbeat:
    """One report. `token_hash` is the fingerprint of what the caller presented; `report_json` is shown to people as it came."""

    instance_id: UUID
    token_hash: str
    status: AgentStatus
    phase: AgentPhase | None = None
    boot_id: str | None = None
    worker_id: str | None = None
    model_id: str | None = None
    queue_depth: int | None = None
    slots_total: int | None = None
    slots_busy: int | None = None
    gpu_utilization: float | None = None
    agent_version: str | None = None
    system: SystemFigures | None = None
    gpus: tuple[GpuFigures, ...] = ()
    report_json: bytes = b"{}"


def percent(value: float | None) -> float | None:
    return within(value, 0.0, 100.0)


def within(value: float | None, least: float, most: float) -> float | None:
    return None if value is None else min(max(value, least), most)


def plausible(value: float | None) -> float | None:
    return within(value, 0.0, LARGEST_FIGURE)


def whole_bytes(value: float | None) -> int | None:
    return None if value is None else int(min(max(value, 0.0), LARGEST_BYTES))


def no_more_than(value: float | None, total: float | None) -> float | None:
    """A part of a whole is not larger than the whole, where that is known."""
    return value if value is None or total is None else min(value, max(total, 0.0))
