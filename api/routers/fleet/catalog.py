"""Reading the catalogue: providers, regions, zones, machine types. It belongs to the installation; members read it."""

from dataclasses import replace
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from api.deps import State
from api.http.openapi import errors
from api.http.pagination import SearchResponse, WindowParams
from api.http.routing import Route
from api.schemas.base import STORABLE
from api.schemas.fleet.catalog import InstanceTypeRead, InstanceTypeZoneRead, ProviderRead, RegionRead, ZoneRead
from api.security.permissions import require
from models.domain.identity.principal import Principal
from models.domain.permissions.fleet import FleetPermission
from models.repositories.fleet import catalog
from models.repositories.fleet.catalog import CatalogSearch, Resource

router = APIRouter(tags=["catalog"], route_class=Route)

Reader = Annotated[Principal, Depends(require(FleetPermission.CATALOG_READ))]
Read = TypeVar("Read")
Part = Annotated[str, Query(max_length=200, description="A part of the name or code, in any case."), STORABLE]


async def search_parameters(
    window: WindowParams,
    *,
    q: Part | None = None,
    is_active: bool | None = None,
    order_by: str = "name",
    order_dir: str = "asc",
) -> CatalogSearch:
    """The parameters that all searches of the catalogue share."""
    return CatalogSearch(
        q=q,
        is_active=is_active,
        order_by=order_by,
        descending=order_dir.lower() == "desc",
        offset=window.offset,
        limit=window.limit,
    )


Search = Annotated[CatalogSearch, Depends(search_parameters)]


async def _listing(state: State, resource: Resource) -> list[catalog.Row]:
    async with state.database.system() as session:
        return await catalog.listing(session, resource)


async def _found(state: State, resource: Resource, wanted: CatalogSearch) -> catalog.Found:
    async with state.database.system() as session:
        return await catalog.search(session, resource, wanted)


@router.get("/providers", summary="List providers")
async def list_providers(_reader: Reader, state: State) -> list[ProviderRead]:
    return [ProviderRead(**row) for row in await _listing(state, catalog.PROVIDERS)]


@router.get("/providers/search", summary="Search providers")
async def search_providers(_reader: Reader, state: State, search: Search) -> SearchResponse[ProviderRead]:
    found = await _found(state, catalog.PROVIDERS, search)
    return page_of(search, found, [ProviderRead(**row) for row in found.rows])


@router.get("/regions", summary="List regions")
async def list_regions(_reader: Reader, state: State) -> list[RegionRead]:
    return [RegionRead(**row) for row in await _listing(state, catalog.REGIONS)]


@router.get("/regions/search", summary="Search regions")
async def search_regions(
    _reader: Reader, state: State, search: Search, provider_id: UUID | None = None
) -> SearchResponse[RegionRead]:
    found = await _found(state, catalog.REGIONS, replace(search, provider_id=provider_id))
    return page_of(search, found, [RegionRead(**row) for row in found.rows])


@router.get("/zones", summary="List zones")
async def list_zones(_reader: Reader, state: State) -> list[ZoneRead]:
    return [ZoneRead(**row) for row in await _listing(state, catalog.ZONES)]


@router.get("/zones/search", summary="Search zones")
async def search_zones(
    _reader: Reader,
    state: State,
    search: Search,
    provider_id: UUID | None = None,
    region_id: UUID | None = None,
) -> SearchResponse[ZoneRead]:
    found = await _found(state, catalog.ZONES, replace(search, provider_id=provider_id, region_id=region_id))
    return page_of(search, found, [ZoneRead(**row) for row in found.rows])


@router.get("/zones/{zone_id}/instance_types", summary="List the types available in a zone", responses=errors(404))
async def list_instance_types_in_zone(
    zone_id: UUID,
    _reader: Reader,
    state: State,
    provider_id: UUID | None = None,
    provider_code: Annotated[str | None, STORABLE] = None,
) -> list[InstanceTypeRead]:
    async with state.database.system() as session:
        rows = await catalog.types_in_zone(session, zone_id, provider_id=provider_id, provider_code=provider_code)
    return [InstanceTypeRead.of(row) for row in rows]


@router.get("/instance_types", summary="List machine types")
async def list_instance_types(_reader: Reader, state: State) -> list[InstanceTypeRead]:
    return [InstanceTypeRead.of(row) for row in await _listing(state, catalog.INSTANCE_TYPES)]


@router.get("/instance_types/search", summary="Search machine types")
async def search_instance_types(
    _reader: Reader, state: State, search: Search, provider_id: UUID | None = None
) -> SearchResponse[InstanceTypeRead]:
    found = await _found(state, catalog.INSTANCE_TYPES, replace(search, provider_id=provider_id))
    return page_of(search, found, [InstanceTypeRead.of(row) for row in found.rows])


@router.get("/instance_types/{instance_type_id}/zones", summary="List the zones of a type", responses=errors(404))
async def list_zones_of_instance_type(
    instance_type_id: UUID, _reader: Reader, state: State
) -> list[InstanceTypeZoneRead]:
    async with state.database.system() as session:
        return [InstanceTypeZoneRead(**row) for row in await catalog.zones_of_type(session, instance_type_id)]


def page_of(search: CatalogSearch, found: catalog.Found, rows: list[Read]) -> SearchResponse[Read]:
    return SearchResponse(
        offset=search.offset,
        limit=search.limit,
        total_count=found.total_count,
        filtered_count=found.filtered_count,
        rows=rows,
    )
