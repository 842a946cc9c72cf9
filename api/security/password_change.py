"""A person's new password, in exchange for the one of before."""

from api.state import AppState
from models.base.errors import InvalidRequest
from models.domain.identity.principal import Principal
from models.repositories.identity import users

FROM_ANYWHERE = "password change"
"""In place of a network: the attempts of a person count together, wherever their sessions are."""


async def change_password(state: AppState, person: Principal, current: str, new: str) -> None:
    """Every other session of the person ends; this one goes on.

    Raises InvalidRequest for a wrong current password, RateLimited after some: a session that somebody found open is no licence
    to guess. Attempts and places are of the reserve: while strangers try passwords, people go on changing theirs.
    """
    if person.session_id is None:
        raise ValueError("only a session changes a password")
    state.login_limits.attempt_reserved(person.user_id, FROM_ANYWHERE)
    async with state.database.tenant(person.organization_id, person.user_id) as session:
        former_hash = await users.password_hash(session, person.user_id)
    if not await state.reserved_checks.verify(former_hash, current) or former_hash is None:
        raise InvalidRequest("the current password is wrong", code="INVALID_CURRENT_PASSWORD")
    new_hash = await state.reserved_checks.hash(new)
    async with state.database.tenant(person.organization_id, person.user_id) as session:
        await users.change_password(
            session, person.user_id, person.session_id, former_hash=former_hash, new_hash=new_hash
        )
    state.login_limits.succeeded_reserved(person.user_id, FROM_ANYWHERE)
    await state.identities.catch_up()
