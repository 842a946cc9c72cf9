"""The owner's workflow terminated in Temporal, in every state: the sweeper starts it again, and it goes on from its row."""

import asyncio
from uuid import UUID

from temporalio.client import Client, WorkflowExecutionStatus

from tests.chaos import scoreboard
from tests.chaos.installation import Installation
from tests.chaos.ledger import made_outside, verify
from tests.chaos.scenarios import MARKS, scenario

pytestmark = [*MARKS]

BACK_WITHIN_S = 45.0
"""A sweep each 10 s, an order is 10 s old before it is missed, and visibility lags."""


async def running_owners(client: Client, instances: list[UUID]) -> list[UUID]:
    found = []
    for one in instances:
        description = await client.get_workflow_handle(f"instance/{one}").describe()
        if description.status is WorkflowExecutionStatus.RUNNING:
            found.append(one)
    return found


@scenario
async def test_a_terminated_owner_is_started_again_and_goes_on(installation: Installation) -> None:
    """One instance held in each state that lasts; all owners are terminated at once, then what held them is let go."""
    ready, reinstalling, draining = await installation.ready("mock", 3)
    slow = await installation.fault("create", "slow_build", delay_s=20, count=1)
    [provisioning] = await installation.deploy("mock")
    await installation.until([provisioning], lambda row: row["provider_instance_id"] is not None, 10.0)
    assert await installation.fired(slow) == 1
    await installation.fault("create", "slow_start", delay_s=20, count=1)
    [booting] = await installation.deploy("mock")
    await installation.until_status([booting], "booting")
    await installation.fault("create", "no_capacity", count=1)
    [failed] = await installation.deploy("mock", zone="local")
    await installation.until_status([failed], "failed")
    await installation.fault("reinstall", "error_before")
    await installation.reinstall(reinstalling)
    await installation.until([reinstalling], lambda row: row["generation"] == 2, 10.0)
    ignored = await installation.fault("delete", "ignored")
    await installation.terminate(draining)
    await installation.until_status([draining], "terminating")

    held = [ready, provisioning, booting, failed, reinstalling, draining]
    client = await installation.temporal_client()
    for one in held:
        await client.get_workflow_handle(f"instance/{one}").terminate("by a chaos test")
    assert await running_owners(client, held) == []
    await installation.end_faults()
    assert ignored

    async with asyncio.timeout(scoreboard.patience_s(BACK_WITHIN_S)):
        while await running_owners(client, [one for one in held if one != draining]) != held[:-1]:
            await asyncio.sleep(0.2)
    took = await installation.until_status([ready, provisioning, booting, reinstalling], "ready", BACK_WITHIN_S)
    await installation.until_status([draining], "terminated", BACK_WITHIN_S)
    scoreboard.recovered("owner terminated in Temporal", len(held), took)
    await verify(installation, [ready, provisioning, booting, reinstalling, draining])
    assert (await installation.instances([failed]))[failed]["status"] == "failed"
    assert failed not in await made_outside(installation)

    await installation.terminate(*held)
    await installation.until_status(held, "terminated")
    await verify(installation, held[:-1], at_most_one=True)
