"""What an instance has served (contract/fleet.md 2.8)."""

from uuid import UUID

from pydantic import Field

from api.schemas.base import Moment, ResponseModel
from models.repositories.inference.metrics import InstanceMetrics


class InstanceMetricsRead(ResponseModel):
    instance_id: UUID
    total_requests: int
    successful_requests: int
    failed_requests: int
    cancelled_requests: int = Field(description="Given up by the caller: neither success nor failure.")
    total_input_tokens: int
    total_output_tokens: int
    total_tokens: int
    first_request_at: Moment | None
    last_request_at: Moment | None

    @classmethod
    def of(cls, metrics: InstanceMetrics) -> "InstanceMetricsRead":
        return cls(total_tokens=metrics.total_input_tokens + metrics.total_output_tokens, **vars(metrics))
