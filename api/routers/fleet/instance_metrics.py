"""What an instance has served."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from api.deps import State
from api.http.openapi import errors
from api.http.routing import Route
from api.schemas.fleet.instance_metrics import InstanceMetricsRead
from api.security.permissions import require
from models.domain.identity.principal import Principal
from models.domain.permissions.fleet import FleetPermission
from models.repositories.inference import metrics as inference_metrics

router = APIRouter(tags=["instances"], route_class=Route)

Reader = Annotated[Principal, Depends(require(FleetPermission.INSTANCES_READ))]


@router.get("/instances/{instance_id}/metrics", summary="Read what an instance has served", responses=errors(404))
async def read_instance_metrics(instance_id: UUID, reader: Reader, state: State) -> InstanceMetricsRead:
    async with state.database.tenant(reader.organization_id, reader.user_id) as session:
        return InstanceMetricsRead.of(await inference_metrics.of_instance(session, instance_id))
