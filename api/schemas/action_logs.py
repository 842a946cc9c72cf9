"""Action logs and their types as they are read (contract/fleet.md 2.12)."""

from typing import Any
from uuid import UUID

from api.http.pagination import SearchResponse
from api.schemas.base import Moment, ResponseModel
from models.tables.activity import ActionComponent, ActionStatus


class ActionLogRead(ResponseModel):
    id: UUID
    action_type: str
    component: ActionComponent
    status: ActionStatus
    error_code: str | None
    error_message: str | None
    instance_id: UUID | None
    operation_id: UUID | None
    user_id: UUID | None
    duration_ms: int | None
    created_at: Moment
    completed_at: Moment | None
    metadata: dict[str, Any]
    instance_status_before: str | None
    instance_status_after: str | None
    provider_name: str | None
    instance_type: str | None


class StatusCounts(ResponseModel):
    success: int
    failed: int
    in_progress: int


class ActionLogSearchResponse(SearchResponse[ActionLogRead]):
    """`status_counts` are of the rows that match, and null unless asked for."""

    status_counts: StatusCounts | None


class ActionTypeRead(ResponseModel):
    code: str
    label: str
    icon: str | None
    color_class: str | None
    category: str | None
    is_active: bool
