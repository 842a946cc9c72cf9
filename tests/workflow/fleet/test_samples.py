"""One round of the upkeep of heartbeat samples; what it does to them is proven in tests/repositories/fleet/test_samples.py."""

from models.contracts.fleet.samples import UpkeepResult
from models.contracts.rounds import RoundsInput
from models.contracts.task_queues import TaskQueue
from models.contracts.workflow_ids import SAMPLES
from tests.replay.recording import keep_history
from tests.workflow.fleet.instances.world import InstanceWorld
from workflows.fleet.samples import SamplesWorkflow


async def test_a_round_averages_the_minutes_that_are_over_once(world: InstanceWorld) -> None:
    instance_id = await world.deploy_id()
    await world.execute(
        "INSERT INTO system_samples (instance_id, organization_id, time, cpu_usage_pct) "
        "SELECT %s, %s, date_trunc('minute', now()) - interval '3 minutes' + n * interval '10 seconds', n * 10 "
        "FROM generate_series(0, 5) AS n",
        instance_id, world.principal.organization_id,
    )  # fmt: skip
    first = await _round(world, "one-minute")
    assert first.averaged >= 1
    rows = await world.rows("SELECT cpu_usage_pct FROM system_samples_minute WHERE instance_id = %s", instance_id)
    assert [row["cpu_usage_pct"] for row in rows] == [25.0]
    again = await _round(world)
    assert again.partitions_changed == 0
    assert len(await world.rows("SELECT 1 FROM system_samples_minute WHERE instance_id = %s", instance_id)) == 1


async def _round(world: InstanceWorld, scenario: str | None = None) -> UpkeepResult:
    handle = await world.client.start_workflow(
        SamplesWorkflow.run, RoundsInput(), id=SAMPLES, task_queue=TaskQueue.ORCHESTRATION
    )
    result = await handle.result()
    if scenario is not None:
        await keep_history(handle, scenario, world.client.data_converter.payload_codec)
    return result
