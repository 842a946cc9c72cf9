"""An engine whose clock is hours ahead of the database's: an owner's time-outs take as long as they should."""

from datetime import timedelta

from models.base.clock import utc_now
from tests.workflow.fleet.instances.world import InstanceWorld

AHEAD_S = 2 * 3600
"""Longer than the startup time, and than the time for which an instance has to stay ready to count as healed."""
MINUTE = timedelta(minutes=1)
LONG_MS = 600_000


async def test_an_engine_that_is_hours_ahead_ends_nothing_early(world: InstanceWorld) -> None:
    await world.skip(AHEAD_S)
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["status"] == "booting")
    await world.become_ready(instance_id)
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    await world.until(instance_id, lambda row: row["generation"] == 2, skipping_s=30)
    await world.agent_says(instance_id, "serving", "ready")
    row = await world.until(instance_id, lambda row: row["status"] == "ready")
    assert row["heal_attempts"] == 1
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)
    row = await world.until(instance_id, lambda row: row["generation"] == 3, skipping_s=30)
    assert row["heal_attempts"] == 2, "silent again a moment after it healed: the attempts go on"
    logs = await world.rows("SELECT completed_at, duration_ms FROM action_logs WHERE instance_id = %s", instance_id)
    assert all(log["completed_at"] < utc_now() + MINUTE and 0 <= log["duration_ms"] < LONG_MS for log in logs)


async def test_an_engine_that_is_hours_ahead_gives_up_in_time(world: InstanceWorld) -> None:
    await world.skip(AHEAD_S)
    instance_id = await world.deploy_id()
    row = await world.until(instance_id, lambda row: row["status"] == "startup_failed", skipping_s=300)
    assert row["error_code"] == "STARTUP_TIMEOUT"
    assert row["failed_at"] < utc_now() + MINUTE
