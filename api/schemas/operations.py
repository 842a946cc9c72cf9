"""An operation: what was asked for, how far it is, what it waits for, what came of it (DESIGN 3)."""

from typing import Annotated, Any, Self
from urllib.parse import quote
from uuid import UUID

from pydantic import Field

from api.schemas.base import Moment, ResponseModel
from api.schemas.waiting_on import Span, WaitingOn, waiting_on
from models.contracts.owner_kinds import OwnerKinds
from models.domain.approvals import Verdict
from models.domain.operations import OPEN, OperationStatus
from models.settings import Settings
from models.settings.derived import temporal_ui_url
from models.tables.operations import Operation


class HeldRead(ResponseModel):
    """What keeps the owner from going on, and since when. It tries again by itself; this is none of its ordinary waits."""

    code: str
    since: Moment


class Resource(ResponseModel):
    kind: str
    id: UUID
    url: str | None


class OperationError(ResponseModel):
    code: str
    message: str | None


class OperationLinks(ResponseModel):
    """`self` and `events` are paths of this API, `temporal_ui` is the workflow's page for operators where that UI is known."""

    self_: Annotated[str, Field(serialization_alias="self")]
    events: str
    temporal_ui: str | None


class OperationRead(ResponseModel):
    """`kind` is one of its family's; `progress` is percent of completed steps, 0 to 100."""

    id: UUID
    kind: str
    status: OperationStatus
    progress: float
    waiting_on: WaitingOn | None
    held: HeldRead | None
    resource: Resource
    result: dict[str, Any] | None
    error: OperationError | None
    created_at: Moment
    started_at: Moment | None
    completed_at: Moment | None
    cancel_requested_at: Moment | None
    links: OperationLinks

    @classmethod
    def of(cls, row: Operation, settings: Settings, kinds: OwnerKinds) -> Self:
        kind = kinds.of(row.resource_kind)
        url = None if kind is None else kind.path_of(row.resource_id)
        return cls(
            id=row.id,
            kind=row.kind,
            status=row.status,
            progress=float(row.progress_percent),
            waiting_on=_waiting_on(row),
            held=_held(row),
            resource=Resource(kind=row.resource_kind, id=row.resource_id, url=url),
            result=row.result,
            error=None if row.error_code is None else OperationError(code=row.error_code, message=row.error_message),
            created_at=row.created_at,
            started_at=row.started_at,
            completed_at=row.completed_at,
            cancel_requested_at=row.cancel_requested_at,
            links=links_of(row, settings),
        )


def links_of(row: Operation, settings: Settings) -> OperationLinks:
    web_ui = temporal_ui_url(settings)
    workflow = f"/namespaces/{settings.temporal_namespace}/workflows/{quote(row.workflow_id, safe='')}"
    return OperationLinks(
        self_=operation_path(row.id),
        events=f"{operation_path(row.id)}/events",
        temporal_ui=None if web_ui is None else web_ui + workflow,
    )


def operation_path(operation_id: UUID) -> str:
    """Also the `Location` of a 202."""
    return f"/operations/{operation_id}"


def _waiting_on(row: Operation) -> WaitingOn | None:
    if row.waiting_on is None or row.status not in OPEN:
        return None
    is_asked = row.status is OperationStatus.WAITING_APPROVAL
    values = waiting_on(
        row.waiting_on,
        row.waiting_params,
        Span(row.waiting_since, row.waiting_until),
        why=row.error_message,
        actions=[decision(row.id, verdict) for verdict in Verdict] if is_asked else [],
    )
    return WaitingOn.model_validate(values)


def decision(operation_id: UUID, verdict: Verdict) -> dict[str, str]:
    """What a person can do about it."""
    return {"name": verdict.value, "method": "POST", "path": f"{operation_path(operation_id)}/{verdict.value}"}


def _held(row: Operation) -> HeldRead | None:
    if row.held_code is None or row.held_since is None or row.status not in OPEN:
        return None
    return HeldRead(code=row.held_code, since=row.held_since)
