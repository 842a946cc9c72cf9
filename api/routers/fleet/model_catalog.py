"""Reading the models that can be served."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path

from api.deps import State
from api.http.openapi import errors
from api.http.routing import Route
from api.schemas.base import STORABLE
from api.schemas.fleet.model_catalog import ModelRead
from api.security.permissions import require
from models.domain.identity.principal import Principal
from models.domain.permissions.fleet import FleetPermission
from models.repositories.fleet import catalog

router = APIRouter(tags=["model_catalog"], route_class=Route)

Reader = Annotated[Principal, Depends(require(FleetPermission.MODELS_READ))]
ModelName = Annotated[str, Path(max_length=200, description="The id or the code of a model."), STORABLE]


@router.get("/models", summary="List models")
async def list_models(
    _reader: Reader,
    state: State,
    *,
    active: bool | None = None,
    order_by: str = "name",
    order_dir: str = "asc",
) -> list[ModelRead]:
    async with state.database.system() as session:
        rows = await catalog.models(
            session, only_active=bool(active), order_by=order_by, descending=order_dir.lower() == "desc"
        )
    return [ModelRead.of(row) for row in rows]


@router.get("/models/{model}", summary="Read a model", responses=errors(400, 404))
async def read_model(model: ModelName, _reader: Reader, state: State) -> ModelRead:
    async with state.database.system() as session:
        return ModelRead.of(await catalog.model(session, model))


@router.get(
    "/instance_types/{instance_type_id}/models",
    summary="List the models that can run on a type",
    responses=errors(404),
)
async def list_models_for_instance_type(instance_type_id: UUID, _reader: Reader, state: State) -> list[ModelRead]:
    async with state.database.system() as session:
        return [ModelRead.of(row) for row in await catalog.models_for_type(session, instance_type_id)]
