"""Agents that are known to be dead, told to the database and through the outbox to the owners of their instances."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables.installation import Installation

REPORT = text("SELECT count(*) FROM report_dead_agents(:instances)")


async def installation_id(session: AsyncSession) -> UUID:
    """Of this database: what else is on a machine belongs to another one."""
    return (await session.exec(select(Installation.id))).one()


async def report(session: AsyncSession, instances: Sequence[UUID]) -> int:
    """Take them out of routing and have their owners look at them; how many live by their rows. As the owner role."""
    return int((await session.execute(REPORT, {"instances": list(instances)})).scalar_one())
