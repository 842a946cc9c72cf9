"""What exists before anyone signs in: the installation's identity, the first organization and its administrator."""

from dataclasses import dataclass, field

from sqlalchemy import text
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base.errors import Conflict
from models.domain.identity.api_keys import ApiKeyText
from models.domain.identity.roles import Role
from models.tables.identity import ApiKey, Membership, Organization, User
from models.tables.installation import Installation

FOUNDING_LOCK = 0x51756173
"""Advisory lock: processes that start together on one database found it once."""

PERSONAL_NAME = "Personal"
ADMIN_KEY_NAME = "administrator"


@dataclass(frozen=True)
class Founder:
    """The first superadmin, owner of the first organization."""

    email: str
    password_hash: str = field(repr=False)
    api_key: ApiKeyText


async def lock(session: AsyncSession) -> None:
    """Wait for every other process that founds or seeds this database, until this transaction ends."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": FOUNDING_LOCK})


async def ensure_installation(session: AsyncSession) -> None:
    if (await session.exec(select(Installation))).first() is None:
        session.add(Installation())


async def has_superadmin(session: AsyncSession) -> bool:
    return (await session.exec(select(User.id).where(col(User.is_superadmin)))).first() is not None


async def knows_api_key(session: AsyncSession, key: ApiKeyText) -> bool:
    return (await session.exec(select(ApiKey.id).where(ApiKey.key_hash == key.hash))).first() is not None


async def found(session: AsyncSession, founder: Founder, *, name: str, slug: str) -> None:
    """Create the organization, its administrator with an organization of their own, and an API key.

    Raises Conflict when the address, username or slug belongs to somebody: nobody is promoted by taking a name.
    """
    username = founder.email.partition("@")[0]
    taken = select(User.id).where(or_(col(User.email) == founder.email, col(User.username) == username))
    if (await session.exec(taken)).first() is not None:
        raise Conflict(f"{founder.email} or the username {username} exists and is no superadmin")
    if (await session.exec(select(Organization.id).where(Organization.slug == slug))).first() is not None:
        raise Conflict(f"the organization {slug} exists, yet the installation has no superadmin")
    user = User(username=username, email=founder.email, password_hash=founder.password_hash, is_superadmin=True)
    session.add(user)
    await session.flush()  # the rows below refer to it
    shared = Organization(name=name, slug=slug, created_by_user_id=user.id)
    personal = personal_organization(user)
    session.add_all([shared, personal])
    await session.flush()
    for organization in (shared, personal):
        session.add(Membership(organization_id=organization.id, user_id=user.id, role=Role.OWNER))
    await session.flush()  # a key belongs to a member
    session.add(
        ApiKey(
            organization_id=shared.id,
            user_id=user.id,
            name=ADMIN_KEY_NAME,
            key_prefix=founder.api_key.shown_prefix,
            key_hash=founder.api_key.hash,
        )
    )


def personal_organization(user: User) -> Organization:
    """The organization of one that every user has (contract decision 3)."""
    return Organization(
        name=PERSONAL_NAME, slug=f"personal-{user.id.hex}", is_personal=True, created_by_user_id=user.id
    )
