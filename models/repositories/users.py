"""People, as rows that the tenant of a transaction may see."""

from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables.identity import Membership, Organization, User


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
