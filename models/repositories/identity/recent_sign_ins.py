"""Which people signed in lately from which networks, across organizations: for the reserve of sign-in attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.domain.identity.networks import IPV4_BITS, IPV6_BITS

DAYS = 30
NETWORKS_PER_USER = 5
"""The latest: each has a reserve of its own, so that this is also how many reserves an account has."""
MOST = 10_000
"""The latest: some 5 MB in each API process once sign-in has been under attack."""

LOAD = text(
    "SELECT user_id, email, username, network FROM recent_sign_ins(:days, :ipv4_bits, :ipv6_bits, :networks_per_user, :most)"
)


@dataclass(frozen=True, slots=True)
class RecentSignIn:
    user_id: UUID
    email: str
    username: str
    network: str


async def load(session: AsyncSession) -> Sequence[RecentSignIn]:
    """Latest first. Sessions whose address was not known have no part in it."""
    parameters = {
        "days": DAYS,
        "ipv4_bits": IPV4_BITS,
        "ipv6_bits": IPV6_BITS,
        "networks_per_user": NETWORKS_PER_USER,
        "most": MOST,
    }
    return [RecentSignIn(*row) for row in await session.execute(LOAD, parameters)]
