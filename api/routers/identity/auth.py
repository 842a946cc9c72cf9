"""Sign-in with a password, sign-out, who is signed in, and a new password (contract/fleet.md 2.1, 2.5)."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.deps import State
from api.http.openapi import errors
from api.http.routing import Route
from api.schemas.identity.auth import Me, PasswordChange, PasswordChanged, PasswordLogin, SignedIn, SignedOut
from api.security.authenticator import refuse_cross_origin
from api.security.credentials import credentials
from api.security.password_change import change_password
from api.security.permissions import AnyPrincipal, SessionPrincipal
from api.security.session_cookie import clear_session_cookie, set_session_cookie
from api.security.sign_in import Client, installation_role, seconds_until, sign_in, sign_out
from models.base.errors import Unauthenticated
from models.repositories.identity import users

router = APIRouter(prefix="/auth", tags=["auth"], route_class=Route)


async def same_origin(request: Request) -> None:
    """Nobody's page signs a visitor of another site in or out. Raises PermissionDenied."""
    refuse_cross_origin(request.method, request.scope["headers"])


async def client_of(request: Request) -> Client:
    address = request.client.host if request.client else "unknown"
    return Client(address, request.headers.get("user-agent"))


@router.post(
    "/login",
    summary="Sign in with a password",
    responses=errors(401, 403, 429, 503),
    dependencies=[Depends(same_origin)],
)
async def login(
    body: PasswordLogin, state: State, response: Response, client: Annotated[Client, Depends(client_of)]
) -> SignedIn:
    opened = await sign_in(state, body.email, body.password.get_secret_value(), client)
    set_session_cookie(response, state.settings, opened.token)
    return SignedIn(
        user_id=opened.person.user_id,
        email=opened.person.email,
        role=opened.claims.role,
        first_name=opened.person.first_name,
        last_name=opened.person.last_name,
        current_organization_id=opened.claims.organization_id,
        access_token=opened.token,
        expires_at=opened.claims.expires_at,
        expires_in=seconds_until(opened.claims.expires_at, state.clock.now()),
    )


@router.post(
    "/logout",
    summary="End the session, if there is one",
    responses=errors(403, 503),
    dependencies=[Depends(same_origin)],
)
async def logout(request: Request, state: State, response: Response) -> SignedOut:
    presented = credentials(request.scope["headers"], state.settings.session_cookie_name)
    if presented:
        await sign_out(state, [each.token for each in presented])
    clear_session_cookie(response, state.settings)
    return SignedOut()


@router.get("/me", summary="Tell who is calling")
async def read_me(principal: AnyPrincipal, state: State) -> Me:
    async with state.database.tenant(principal.organization_id, principal.user_id) as session:
        found = await users.with_organization(session, principal.user_id, principal.organization_id)
    if found is None:
        raise Unauthenticated("this account no longer exists", code="SESSION_INVALID")
    user, organization = found
    return Me(
        user_id=user.id,
        username=user.username,
        email=user.email,
        role=installation_role(is_superadmin=user.is_superadmin),
        first_name=user.first_name,
        last_name=user.last_name,
        current_organization_id=organization.id,
        current_organization_name=organization.name,
        current_organization_slug=organization.slug,
        current_organization_role=principal.role.value,
    )


@router.put("/me/password", summary="Change your password", responses=errors(409, 429, 503))
async def update_password(body: PasswordChange, person: SessionPrincipal, state: State) -> PasswordChanged:
    await change_password(state, person, body.current_password.get_secret_value(), body.new_password.get_secret_value())
    return PasswordChanged()
