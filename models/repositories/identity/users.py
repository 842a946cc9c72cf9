"""People, as rows that the tenant of a transaction may see."""

from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import Conflict, Unauthenticated
from models.tables.identity import Membership, Organization, User

CHANGE_PASSWORD = text("SELECT change_password(:user_id, :session_id, :former_hash, :new_hash)")


async def with_organization(
    session: AsyncSession, user_id: UUID, organization_id: UUID
) -> tuple[User, Organization] | None:
    """The user and the organization; None if either, or the membership between them, is gone."""
    statement = (
        select(User, Organization)
        .join(Membership, col(Membership.user_id) == User.id)
        .join(Organization, col(Organization.id) == Membership.organization_id)
        .where(User.id == user_id, Organization.id == organization_id)
    )
    return (await session.exec(statement)).one_or_none()


async def password_hash(session: AsyncSession, user_id: UUID) -> str | None:
    """None without a password, and without the user."""
    return (await session.exec(select(User.password_hash).where(User.id == user_id))).one_or_none()


async def change_password(
    session: AsyncSession, user_id: UUID, session_id: UUID, *, former_hash: str, new_hash: str
) -> None:
    """All other sessions of the user end (docs/decisions/0042-revocation-reaches-what-hangs-on-it.md).

    Raises Conflict when the password is not the former one any more, Unauthenticated when the session has ended meanwhile.
    """
    values = {"user_id": user_id, "session_id": session_id, "former_hash": former_hash, "new_hash": new_hash}
    outcome: str = (await session.execute(CHANGE_PASSWORD, values)).scalar_one()
    if outcome == "session_ended":
        raise Unauthenticated("this session has ended: sign in again", code="INVALID_TOKEN")
    if outcome != "changed":
        raise Conflict("the password was changed a moment ago, elsewhere", code="PASSWORD_CHANGED")
