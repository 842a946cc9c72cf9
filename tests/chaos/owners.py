"""Which instances have an owner that runs, as the workflow engine says."""

import asyncio
from uuid import UUID

from models.contracts.fleet.owner_kinds import INSTANCE
from tests.chaos import scoreboard
from tests.chaos.installation import Installation

HEALED_WITHIN_S = 90.0


async def owners(installation: Installation) -> set[UUID]:
    """Instances with an owner that runs."""
    client = await installation.temporal_client()
    query = "WorkflowType = 'Instance' AND ExecutionStatus = 'Running'"
    found = {INSTANCE.resource_of(one.id) async for one in client.list_workflows(query)}
    return {one for one in found if one is not None}


async def until_owned(installation: Installation, instances: set[UUID]) -> None:
    """These and no others have an owner."""
    async with asyncio.timeout(scoreboard.patience_s(HEALED_WITHIN_S)):
        while await owners(installation) != instances:
            await asyncio.sleep(0.2)
