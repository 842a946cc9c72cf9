"""Boot tokens of an instance's agent: one row per generation, hashes only (contract decision 10)."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.domain.fleet.instances.credentials import bootstrap_token
from models.domain.keys import fingerprint
from models.tables.fleet.instances import AgentToken, Instance

VALID_FOR = timedelta(hours=1)


def issue(session: AsyncSession, row: Instance, installation_key: bytes, *, now: datetime) -> None:
    """Let the agent of the row's generation register within the hour."""
    token = bootstrap_token(installation_key, row.id, row.generation)
    session.add(
        AgentToken(
            organization_id=row.organization_id,
            instance_id=row.id,
            generation=row.generation,
            bootstrap_hash=fingerprint(token),
            bootstrap_expires_at=now + VALID_FOR,
        )
    )


async def replace(session: AsyncSession, row: Instance, installation_key: bytes, *, now: datetime) -> None:
    """Revoke what earlier generations hold and issue for the row's own."""
    await revoke_all(session, row.id, now=now)
    issue(session, row, installation_key, now=now)


async def renew(session: AsyncSession, row: Instance, *, now: datetime) -> None:
    """A machine that took long to start still has its hour from the moment it runs."""
    await session.execute(
        update(AgentToken)
        .where(
            col(AgentToken.instance_id) == row.id,
            col(AgentToken.generation) == row.generation,
            col(AgentToken.consumed_at).is_(None),
        )
        .values(bootstrap_expires_at=now + VALID_FOR)
    )


async def revoke_all(session: AsyncSession, instance_id: UUID, *, now: datetime) -> None:
    await session.execute(
        update(AgentToken)
        .where(col(AgentToken.instance_id) == instance_id, col(AgentToken.revoked_at).is_(None))
        .values(revoked_at=now)
    )
