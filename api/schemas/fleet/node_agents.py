"""Bodies of the agent protocol (contract/fleet.md 5.1, decision 10). What an agent newer than this server adds is ignored."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from api.schemas.base import RequestModel, ResponseModel
from models.domain.fleet.instances.state import AgentPhase, AgentStatus

METADATA_LIMIT_BYTES = 16_384
GPU_LIMIT = 64

Name = Annotated[str, Field(min_length=1, max_length=200)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class AgentInfo(BaseModel):
    version: Name | None = None


class GpuReport(BaseModel):
    """Values outside of what is physically possible are moved inside."""

    index: Annotated[int, Field(ge=0, le=1023)]
    gpu_utilization: Number | None = None
    gpu_mem_used_mb: Number | None = None
    gpu_mem_total_mb: Number | None = None
    gpu_temp_c: Number | None = None
    gpu_power_w: Number | None = None
    gpu_power_limit_w: Number | None = None


class SystemReport(BaseModel):
    """Network rates are bytes per second."""

    cpu_usage_pct: Number | None = None
    load1: Number | None = None
    mem_used_bytes: Number | None = None
    mem_total_bytes: Number | None = None
    disk_used_bytes: Number | None = None
    disk_total_bytes: Number | None = None
    net_rx_bps: Number | None = None
    net_tx_bps: Number | None = None


class Metadata(BaseModel):
    """At most 16 KiB. `gpus` and `system` become samples; everything is shown to people as it came."""

    gpus: Annotated[list[GpuReport], Field(max_length=GPU_LIMIT)] | None = None
    system: SystemReport | None = None
    _json: bytes = PrivateAttr(default=b"{}")

    @property
    def as_json(self) -> bytes:
        """Everything that was sent, also what is not understood."""
        return self._json

    @model_validator(mode="wrap")
    @classmethod
    def _keep_what_was_sent(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        metadata = handler(value)
        try:
            content = orjson.dumps(value)
        except TypeError:  # beyond 64 bits, or nested deeper than anything sensible
            raise ValueError("holds a number or a depth that cannot be kept") from None
        if len(content) > METADATA_LIMIT_BYTES:
            raise ValueError(f"is larger than {METADATA_LIMIT_BYTES} bytes")
        metadata._json = content  # noqa: SLF001  (an instance of this class)
        return metadata


class AgentBody(RequestModel):
    """What every message of an agent says. An address in it is ignored: the provider tells where a machine is."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    instance_id: UUID
    worker_id: Name | None = None
    boot_id: Annotated[Name, Field(description="New for each process of the agent.")] | None = None
    model_id: Name | None = None
    metadata: Metadata = Field(default_factory=Metadata)


class RegisterBody(AgentBody):
    nonce: Annotated[
        str, Field(min_length=16, max_length=200, description="Made and stored by the agent before its first try.")
    ]
    vllm_port: Port | None = None
    health_port: Port | None = None


class RegisterAnswer(ResponseModel):
    status: Literal["ok"] = "ok"
    bootstrap_token: str = Field(description="The agent token: it names the agent from now on.")
    bootstrap_token_prefix: str
    serving_key: str = Field(description="What the model server demands of its callers.")
    heartbeat_interval_s: float


class HeartbeatBody(AgentBody):
    status: AgentStatus
    phase: AgentPhase | None = None
    queue_depth: Count | None = None
    slots_total: Count | None = None
    slots_busy: Count | None = None
    gpu_utilization: Number | None = None
    gpu_mem_used_mb: Number | None = None
    agent_info: AgentInfo | None = None


class HeartbeatAnswer(ResponseModel):
    status: Literal["ok"] = "ok"
