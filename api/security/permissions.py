"""A handler's signature is its policy: `Annotated[Principal, Depends(require(FleetPermission.INSTANCES_WRITE))]`."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Security
from fastapi.requests import HTTPConnection
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPBearer
from starlette.websockets import WebSocket

from activities.runtime.context import RequestContext, set_context
from api.deps import get_state
from api.http.errors import request_id_of
from api.http.routing import before_the_body
from api.security.identities import Authenticated
from api.security.socket_sign_in import socket_caller
from models.base.errors import PermissionDenied
from models.domain.identity.grants import Permission
from models.domain.identity.principal import Principal

SESSION_COOKIE = "sessionCookie"
"""Name of this scheme in the OpenAPI document, which fills in the cookie's configured name."""


class _Cookie(APIKeyCookie):
    async def __call__(self, request: HTTPConnection) -> None:
        """As the two below, it only names an alternative in the OpenAPI document: `authenticated` reads the headers itself."""


class _Header(APIKeyHeader):
    async def __call__(self, request: HTTPConnection) -> None:
        """See `_Cookie`."""


class _Bearer(HTTPBearer):
    async def __call__(self, request: HTTPConnection) -> None:
        """See `_Cookie`."""


_COOKIE = _Cookie(name="quarterdeck_session", scheme_name=SESSION_COOKIE)
_API_KEY = _Header(name="X-API-Key", scheme_name="apiKey")
_BEARER = _Bearer(scheme_name="bearer", description="A session token or an API key.")


async def identify(connection: HTTPConnection) -> Authenticated:
    """Whoever calls, told from the head of the request and kept with it; a socket is accepted here. Raises Unauthenticated."""
    known: Authenticated | None = getattr(connection.state, "caller", None)
    if known is not None:
        return known
    state = await get_state(connection)
    if isinstance(connection, WebSocket):
        caller = await socket_caller(connection, state.authenticator)
        connection.state.conversation.is_of(caller)
    else:
        caller = await state.authenticator.authenticate(connection.scope["method"], connection.scope["headers"])
    connection.state.caller = caller
    organization_id = str(caller.principal.organization_id)
    set_context(RequestContext(request_id=request_id_of(connection.scope), organization_id=organization_id))
    return caller


@before_the_body(identify)
async def authenticated(
    connection: HTTPConnection,
    _cookie: Annotated[object, Security(_COOKIE)],
    _api_key: Annotated[object, Security(_API_KEY)],
    _bearer: Annotated[object, Security(_BEARER)],
) -> Authenticated:
    """Whoever calls, with any permission or none. Raises Unauthenticated."""
    return await identify(connection)


async def _principal(caller: Annotated[Authenticated, Depends(authenticated)]) -> Principal:
    return caller.principal


AnyPrincipal = Annotated[Principal, Depends(_principal)]
Caller = Annotated[Authenticated, Depends(authenticated)]


def require(permission: Permission) -> Callable[[Authenticated], Awaitable[Principal]]:
    """A dependency that gives the principal, if its role and its key's scopes allow this; else 401 or 403."""

    async def principal_with_permission(caller: Annotated[Authenticated, Depends(authenticated)]) -> Principal:
        if not caller.principal.may(permission):
            raise PermissionDenied(
                f"this needs the permission {permission.value}, which the role {caller.principal.role.value}"
                " or the scopes of this API key do not include",
                details={"permission": permission.value, "role": caller.principal.role.value},
            )
        return caller.principal

    return principal_with_permission


async def _signed_in(principal: AnyPrincipal) -> Principal:
    if principal.session_id is None:
        raise PermissionDenied(
            "this changes the person: sign in, an API key cannot do it (contract decision 25)", code="SESSION_REQUIRED"
        )
    return principal


SessionPrincipal = Annotated[Principal, Depends(_signed_in)]
