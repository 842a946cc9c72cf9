"""Signing in with a password and signing out: sessions begin and end here.

The token is good for 12 hours, as cookie and as bearer alike. Contract decision 6 has short access tokens with a refresh
token beside the cookie; until there is a route that refreshes, a token of 15 minutes would only lock programs out. Nothing
is lost by it: each token names a row, and revoking the row is effective within a second.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from api.security.passwords import PasswordChecks
from api.security.tokens import SessionClaims
from api.state import AppState
from models.base.errors import RateLimited, ServiceUnavailable, Unauthenticated
from models.base.ids import new_id
from models.domain.identity.networks import network_of
from models.domain.identity.roles import Role
from models.domain.keys import fingerprint
from models.repositories.identity import identities
from models.repositories.identity.identities import NewSession, SignIn
from models.repositories.transaction_time import began_at

SESSION_LIFETIME = timedelta(hours=12)
USER_AGENT_LIMIT = 400


@dataclass(frozen=True, slots=True)
class Client:
    """Where a sign-in comes from, as kept with the session."""

    address: str
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class VerifiedSignIn:
    person: SignIn
    password_hash: str = field(repr=False)
    """Which the password was checked against."""


@dataclass(frozen=True, slots=True)
class OpenedSession:
    person: SignIn
    claims: SessionClaims
    token: str = field(repr=False)


def installation_role(*, is_superadmin: bool) -> str:
    """The role on the installation, in the contract's words."""
    return "admin" if is_superadmin else "user"


async def sign_in(state: AppState, login: str, password: str, client: Client) -> OpenedSession:
    """A new session. Raises Unauthenticated, RateLimited; a wrong password and an unknown login look and take the same.

    Who signed in lately from the same network has attempts and places of their own when those of all have run out. Then a right
    password is the only answer that differs: to whoever has none it looks and takes the same, known here or not.
    """
    try:
        state.login_limits.attempt(client.address, login)
        verified = await _verified(state, login, password, state.password_checks)
    except RateLimited:
        async with state.refusal_pace.kept():
            reserved = await _from_the_reserve(state, login, password, client.address)
        if reserved is None:
            raise
        opened = await _open(state, reserved, client)
    else:
        opened = await _open(state, verified, client)
        state.login_limits.succeeded(client.address, login)
    await state.identities.catch_up()
    return opened


async def sign_out(state: AppState, tokens: list[str]) -> None:
    """End the sessions of these tokens. What is no session's token changes nothing."""
    async with state.database.system() as session:
        revoked = [await identities.revoke_session(session, fingerprint(token)) for token in tokens]
    if any(revoked):
        await state.identities.catch_up()


async def _verified(state: AppState, login: str, password: str, checks: PasswordChecks) -> VerifiedSignIn:
    """Raises Unauthenticated, RateLimited."""
    async with state.database.system() as session:
        person = await identities.find_sign_in(session, login)
    stored_hash = None if person is None else person.password_hash
    if not await checks.verify(stored_hash, password) or person is None or stored_hash is None:
        raise _refused()
    return VerifiedSignIn(person, stored_hash)


async def _from_the_reserve(state: AppState, login: str, password: str, address: str) -> VerifiedSignIn | None:
    """None says nothing of why: nobody known here, a wrong password, a reserve that is used up, a database that is away."""
    network = network_of(address)
    if network is None:
        return None
    try:
        user_id = await state.recent_sign_ins.user_of(login, network)
        if user_id is None:
            return None
        state.login_limits.attempt_reserved(user_id, network)
        verified = await _verified(state, login, password, state.reserved_checks)
    except (RateLimited, Unauthenticated, ServiceUnavailable):
        return None
    if verified.person.user_id != user_id:
        return None  # the login became somebody else's meanwhile
    state.login_limits.succeeded_reserved(user_id, network)
    return verified


async def _open(state: AppState, verified: VerifiedSignIn, client: Client) -> OpenedSession:
    person = verified.person
    async with state.database.system() as session:
        issued_at = (await began_at(session)).replace(microsecond=0)
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
        if not await identities.open_session(session, _row(claims, verified.password_hash, token, client)):
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


def seconds_until(moment: datetime, now: datetime) -> int:
    return max(0, int((moment - now).total_seconds()))
