"""Every outbox row delivered once more, long after its workflow and all that Temporal knew of it are gone."""

import asyncio

from temporalio.client import WorkflowExecutionStatus

from tests.chaos import scoreboard
from tests.chaos.installation import Installation
from tests.chaos.ledger import made_outside, verify
from tests.chaos.scenarios import MARKS, scenario

pytestmark = [*MARKS]

STANDING = "SELECT id, status, generation, boot_count, provider_instance_id, terminated_at FROM instances ORDER BY id"
OPERATIONS = "SELECT id, kind, status, completed_at FROM operations ORDER BY id"
BILLS = "SELECT id, provider_resource_id, opened_at, closed_at FROM billing_segments ORDER BY id"


async def forget_everything(installation: Installation) -> None:
    """Temporal as after the end of every retention, and worse: it knows of no workflow, open or closed, and of no schedule."""
    await installation.worker.kill()
    await installation.temporal.kill()
    for file in installation.folder.glob("temporal.db*"):
        file.unlink()
    await installation.temporal.start()
    await installation.worker.start()


@scenario
async def test_delivered_again_after_the_retention_nothing_changes(installation: Installation) -> None:
    gone = await installation.ready("mock", 2)
    live = await installation.ready("mock", 1)
    await installation.worker.kill()  # an order that was ended before anything was made has only its row
    unborn = await installation.deploy("mock", 1)
    await installation.terminate(*unborn)
    await installation.worker.start()
    await installation.reinstall(gone[0], *live)
    await installation.until([gone[0], *live], lambda row: row["status"] == "ready" and row["generation"] == 2, 20.0)
    await installation.terminate(*gone)
    await installation.until_status([*gone, *unborn], "terminated")

    client = await installation.temporal_client()
    for one in (*gone, *unborn):
        await client.get_workflow_handle(f"instance/{one}").result()
    statements = (STANDING, OPERATIONS, BILLS)
    before = [await installation.rows(statement) for statement in statements], await made_outside(installation)
    await forget_everything(installation)
    rows = await installation.rows("UPDATE outbox SET delivered_at = NULL, next_attempt_at = now() RETURNING id")
    assert len(rows) >= 10
    await _delivered(installation)
    for one in (*gone, *unborn):  # each was started anew, read its row, and left it alone
        handle = client.get_workflow_handle(f"instance/{one}")
        await handle.result()
        assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
    for one in live:  # its owner is back, and found nothing to do
        assert (
            await client.get_workflow_handle(f"instance/{one}").describe()
        ).status is WorkflowExecutionStatus.RUNNING
    await asyncio.sleep(1.0)  # nothing to wait for: what must not happen would happen now
    after = [await installation.rows(statement) for statement in statements], await made_outside(installation)
    assert after == before
    await verify(installation, [*gone, *live])
    await installation.terminate(*live)
    await installation.until_status(live, "terminated")
    await verify(installation, live)


async def _delivered(installation: Installation) -> None:
    async with asyncio.timeout(scoreboard.patience_s(30)):
        while await installation.rows("SELECT 1 FROM outbox WHERE delivered_at IS NULL"):
            await asyncio.sleep(0.1)
