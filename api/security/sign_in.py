"""Signing in with a password and signing out: sessions begin and end here.

The token is good for 12 hours, as cookie and as bearer alike. Contract decision 6 has short access tokens with a refresh
token beside the cookie; until there is a route that refreshes, a token of 15 minutes would only lock programs out. Nothing
is lost by it: each token names a row, and revoking the row is effective within a second.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from api.composition import AppState
from api.security.tokens import SessionClaims
from models.base.clock import utc_now
from models.base.errors import Unauthenticated
from models.base.ids import new_id
from models.domain.identity.roles import Role
from models.domain.keys import fingerprint
from models.repositories import identities
from models.repositories.identities import NewSession, SignIn

SESSION_LIFETIME = timedelta(hours=12)
USER_AGENT_LIMIT = 400


@dataclass(frozen=True, slots=True)
class Client:
    """Where a sign-in comes from, as kept with the session."""

    address: str
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class OpenedSession:
    person: SignIn
    claims: SessionClaims
    token: str = field(repr=False)


def installation_role(*, is_superadmin: bool) -> str:
    """The role on the installation, in the contract's words."""
    return "admin" if is_superadmin else "user"


async def sign_in(state: AppState, login: str, password: str, client: Client) -> OpenedSession:
    """A new session. Raises Unauthenticated, RateLimited; a wrong password and an unknown login look and take the same."""
    state.login_limits.attempt(client.address, login)
    async with state.database.system() as session:
        person = await identities.find_sign_in(session, login)
    stored_hash = None if person is None else person.password_hash
    if not await state.password_checks.verify(stored_hash, password) or person is None or stored_hash is None:
        raise _refused()
    opened = await _open(state, person, stored_hash, client)
    state.login_limits.succeeded(client.address, login)
    await state.identities.catch_up()
    return opened


async def sign_out(state: AppState, tokens: list[str]) -> None:
    """End the sessions of these tokens. What is no session's token changes nothing."""
    async with state.database.system() as session:
        revoked = [await identities.revoke_session(session, fingerprint(token)) for token in tokens]
    if any(revoked):
        await state.identities.catch_up()


async def _open(state: AppState, person: SignIn, password_hash: str, client: Client) -> OpenedSession:
    issued_at = utc_now().replace(microsecond=0)
    async with state.database.system() as session:
        organization_id, role = person.organization_id, person.organization_role
        if not person.has_personal_organization:
            personal_id = await identities.ensure_personal_organization(session, person.user_id)
            if organization_id is None or role is None:
                organization_id, role = personal_id, Role.OWNER
        if organization_id is None or role is None:
            raise _refused()
        claims = SessionClaims(
            session_id=new_id(),
            user_id=person.user_id,
            email=person.email,
            role=installation_role(is_superadmin=person.is_superadmin),
            organization_id=organization_id,
            organization_role=role,
            issued_at=issued_at,
            expires_at=issued_at + SESSION_LIFETIME,
        )
        token = state.session_tokens.issue(claims)
        if not await identities.open_session(session, _row(claims, password_hash, token, client)):
            raise _refused()
    return OpenedSession(person, claims, token)


def _row(claims: SessionClaims, password_hash: str, token: str, client: Client) -> NewSession:
    return NewSession(
        session_id=claims.session_id,
        user_id=claims.user_id,
        organization_id=claims.organization_id,
        password_hash=password_hash,
        token_hash=fingerprint(token),
        ip_address=client.address,
        user_agent=client.user_agent and client.user_agent[:USER_AGENT_LIMIT],
        expires_at=claims.expires_at,
    )


def _refused() -> Unauthenticated:
    return Unauthenticated("the login or the password is wrong", code="INVALID_CREDENTIALS")


def seconds_until(moment: datetime) -> int:
    return max(0, int((moment - utc_now()).total_seconds()))
