"""What was done, to which instance or other resource, with what result."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from api.deps import State
from api.http.pagination import WindowParams
from api.http.routing import Route
from api.schemas.action_logs import ActionLogRead, ActionLogSearchResponse, ActionTypeRead, StatusCounts
from api.schemas.base import STORABLE
from api.security.permissions import require
from models.domain.identity.principal import Principal
from models.domain.permissions.spine import SpinePermission
from models.repositories import action_logs
from models.repositories.action_logs import LogFilter, LogSearch
from models.tables.activity import ActionComponent, ActionStatus

router = APIRouter(tags=["activity"], route_class=Route)

Reader = Annotated[Principal, Depends(require(SpinePermission.ACTIVITY_READ))]

LARGEST_LIST = 1000
OLDER_NAMES = {"backend": ActionComponent.API}
"""`backend` is what older logs call the API."""


async def log_filter(
    instance_id: UUID | None = None,
    component: Annotated[str | None, Query(pattern="^(api|backend|orchestrator)$")] = None,
    status: ActionStatus | None = None,
    action_type: Annotated[str | None, Query(max_length=100), STORABLE] = None,
    resource_id: Annotated[UUID | None, Query(description="Of any kind.")] = None,
) -> LogFilter:
    known = OLDER_NAMES.get(component) or ActionComponent(component) if component else None
    return LogFilter(instance_id, known, status, action_type, resource_id)


Matching = Annotated[LogFilter, Depends(log_filter)]


@router.get("/action_logs", summary="List action logs, newest first")
async def list_action_logs(
    reader: Reader,
    state: State,
    matching: Matching,
    limit: Annotated[int, Query(description="1 to 1000; a number outside is moved inside.")] = 100,
) -> list[ActionLogRead]:
    async with state.database.tenant(reader.organization_id, reader.user_id) as session:
        rows = await action_logs.newest(session, matching, limit=min(max(limit, 1), LARGEST_LIST))
    return [ActionLogRead(**row) for row in rows]


@router.get("/action_logs/search", summary="Search action logs")
async def search_action_logs(
    reader: Reader,
    state: State,
    matching: Matching,
    window: WindowParams,
    *,
    sort_by: str = "created_at",
    sort_dir: str = "desc",
    include_stats: bool = False,
) -> ActionLogSearchResponse:
    wanted = LogSearch(matching, sort_by, sort_dir.lower() != "asc", window.offset, window.limit)
    async with state.database.tenant(reader.organization_id, reader.user_id) as session:
        page = await action_logs.search(session, wanted)
    return ActionLogSearchResponse(
        offset=window.offset,
        limit=window.limit,
        total_count=page.total_count,
        filtered_count=page.filtered_count,
        rows=[ActionLogRead(**row) for row in page.rows],
        status_counts=StatusCounts(**page.counts_by_status) if include_stats else None,
    )


@router.get("/action_types", summary="List action types")
async def list_action_types(_reader: Reader, state: State) -> list[ActionTypeRead]:
    async with state.database.system() as session:
        rows = await action_logs.action_types(session)
    return [ActionTypeRead(**row.model_dump()) for row in rows]
