"""The caller's own API keys in the current organization; a key's are those that it made."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from api.deps import State
from api.http import idempotency
from api.http.idempotency import IdempotencyKeyHeader, Replay, request_hash
from api.http.openapi import errors
from api.http.pagination import SearchResponse, WindowParams
from api.http.routing import Route
from api.schemas.identity.api_keys import ApiKeyCreated, ApiKeyRead, ApiKeyWrite
from api.security.permissions import require
from models.domain.identity.api_keys import new_api_key
from models.domain.identity.principal import Principal
from models.domain.permissions.identity import IdentityPermission
from models.repositories.identity import api_keys
from models.repositories.identity.api_keys import Order

router = APIRouter(prefix="/api_keys", tags=["api_keys"], route_class=Route)

Owner = Annotated[Principal, Depends(require(IdentityPermission.API_KEYS_OWN))]

SHOWN_ONCE = "keep this key now: it is not shown again"
NOT_REPEATED = "this key was made by an earlier request with the same Idempotency-Key, and is not shown again"


@router.get("", summary="List your API keys")
async def list_api_keys(owner: Owner, state: State) -> list[ApiKeyRead]:
    async with state.database.tenant(owner.organization_id, owner.user_id) as session:
        return [ApiKeyRead.of(row) for row in await api_keys.all_of(session, owner)]


@router.get("/search", summary="Search your API keys")
async def search_api_keys(
    owner: Owner,
    state: State,
    window: WindowParams,
    sort_by: str = api_keys.DEFAULT_SORT,
    sort_dir: str = "desc",
) -> SearchResponse[ApiKeyRead]:
    order = Order(sort_by, is_descending=sort_dir.lower() != "asc")
    async with state.database.tenant(owner.organization_id, owner.user_id) as session:
        total, rows = await api_keys.search(session, owner, order=order, offset=window.offset, limit=window.limit)
    return SearchResponse(
        offset=window.offset,
        limit=window.limit,
        total_count=total,
        filtered_count=total,
        rows=[ApiKeyRead.of(row) for row in rows],
    )


@router.post("", summary="Make an API key", responses=errors(409), response_model=ApiKeyCreated)
async def create_api_key(
    body: ApiKeyWrite, owner: Owner, state: State, idempotency_key: IdempotencyKeyHeader = None
) -> ApiKeyCreated | Response:
    async with state.database.tenant(owner.organization_id, owner.user_id) as session:
        claimed = await idempotency.claim(session, owner, "POST /api_keys", idempotency_key, request_hash(body))
        if isinstance(claimed, Replay):
            return claimed.response()
        key = new_api_key()
        made = ApiKeyRead.of(await api_keys.add(session, owner, body.name, key))
        replay = ApiKeyCreated(key=made, api_key=None, message=NOT_REPEATED)
        await idempotency.keep(session, claimed, 200, replay.model_dump(mode="json"))
    await state.identities.catch_up()
    return ApiKeyCreated(key=made, api_key=key.plaintext, message=SHOWN_ONCE)


@router.put("/{api_key_id}", summary="Rename an API key", responses=errors(404), response_class=Response)
async def rename_api_key(api_key_id: UUID, body: ApiKeyWrite, owner: Owner, state: State) -> Response:
    async with state.database.tenant(owner.organization_id, owner.user_id) as session:
        await api_keys.rename(session, owner, api_key_id, body.name)
    return Response()


@router.delete("/{api_key_id}", summary="Revoke an API key", responses=errors(404), response_class=Response)
async def revoke_api_key(api_key_id: UUID, owner: Owner, state: State) -> Response:
    async with state.database.tenant(owner.organization_id, owner.user_id) as session:
        await api_keys.revoke(session, owner, api_key_id)
    await state.identities.catch_up()
    return Response()
