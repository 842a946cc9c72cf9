"""The sweeper: silence becomes an edge once, a missing owner comes back once, what is old goes and what is not stays."""

from datetime import timedelta

import pytest

from models.contracts.rounds import RoundsInput
from models.contracts.sweeper import SweepResult
from models.contracts.task_queues import TaskQueue
from models.contracts.workflow_ids import SWEEPER
from models.repositories.sweeper_rows import SweeperRows
from tests.replay.recording import keep_history
from tests.workflow.fleet.instances.world import InstanceWorld
from workflows.sweeper import SweeperWorkflow


async def sweep(world: InstanceWorld, scenario: str | None = None) -> SweepResult:
    """One round. That it goes on for ever is proven in test_standing.py."""
    handle = await world.client.start_workflow(
        SweeperWorkflow.run, RoundsInput(), id=SWEEPER, task_queue=TaskQueue.ORCHESTRATION,
        execution_timeout=timedelta(seconds=30),
    )  # fmt: skip
    result = await handle.result()
    if scenario is not None:
        await keep_history(handle, scenario, world.client.data_converter.payload_codec)
    return result


async def test_with_nothing_to_do_it_does_nothing(real_time_world: InstanceWorld) -> None:
    assert await sweep(real_time_world, "nothing-to-do") == SweepResult()


async def test_a_silent_agent_is_told_of_once(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    await _listened(world, since_s=61, until_s=0)
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    assert (await sweep(world)).found.get("stale") is None, "it spoke a moment ago"
    await world.execute("UPDATE instance_liveness SET last_heartbeat_at = now() - interval '2 minutes'")
    assert (await sweep(world, "one-silent")).found["stale"] == 1
    assert (await sweep(world)).found.get("stale") is None
    [message] = await world.rows("SELECT payload ->> 'edge' AS edge FROM outbox WHERE kind = 'observed'")
    assert message["edge"] == "lost"


@pytest.mark.parametrize(("since_s", "until_s"), [(59, 0), (3600, 16), (None, None)], ids=["again", "no more", "never"])
async def test_silence_counts_only_where_somebody_listened(
    real_time_world: InstanceWorld, since_s: float | None, until_s: float | None
) -> None:
    """An API that was away for minutes must not have the whole fleet healed when it is back."""
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await world.execute("UPDATE instance_liveness SET last_heartbeat_at = now() - interval '1 hour'")
    await _listened(world, since_s=since_s, until_s=until_s)
    assert (await sweep(world)).found.get("stale") is None


async def test_an_agent_that_is_unheard_since_we_listen_again_is_doubted_once(real_time_world: InstanceWorld) -> None:
    """Nobody is taken for dead by that: its owner looks at the machine, and finds that it runs."""
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await world.execute("UPDATE instance_liveness SET last_heartbeat_at = now() - interval '20 s'")
    await _listened(world, since_s=60, until_s=0)
    assert (await sweep(world)).found.get("doubted") is None, "it has been heard of since"
    await _listened(world, since_s=10, until_s=16)
    assert (await sweep(world)).found.get("doubted") is None, "nobody listens"
    await _listened(world, since_s=10, until_s=0)
    assert await sweep(world, "one-unheard") == SweepResult(found={"doubted": 1})
    assert (await sweep(world)).found.get("doubted") is None
    [message] = await world.rows("SELECT payload ->> 'edge' AS edge FROM outbox WHERE kind = 'observed'")
    assert message["edge"] == "unheard"
    await _listened(world, since_s=0, until_s=0)
    assert (await sweep(world)).found["doubted"] == 1, "we were away once more"
    assert (await world.row(instance_id))["status"] == "ready"


async def _listened(world: InstanceWorld, *, since_s: float | None, until_s: float | None) -> None:
    await world.execute(
        "UPDATE installation SET intake_since = now() - make_interval(secs => %s), "
        "intake_seen_at = now() - make_interval(secs => %s)",
        since_s, until_s,
    )  # fmt: skip


async def test_an_owner_that_is_missing_comes_back_and_goes_on(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    await world.handle(instance_id).terminate("by mistake")
    assert (await sweep(world)).owners_restarted == 0, "the start of so young a row may still be on its way"
    await world.execute("UPDATE instances SET created_at = now() - interval '1 minute'")
    assert (await sweep(world, "one-missing")).owners_restarted == 1
    assert (await sweep(world)).owners_restarted == 0
    assert world.compute.created == 1
    async with world.beating(instance_id):
        await world.command("terminate", instance_id)
        await world.ended(instance_id)
    assert not world.compute.live
    assert (await sweep(world)).owners_restarted == 0, "what is over needs no owner"


async def test_what_is_old_goes_and_what_is_not_stays(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    for _ in range(2):
        await world.become_ready(await world.deploy_id())
    before = await _counts(world)
    assert before["operation streams"] == 2
    old, kept = [row["id"] for row in await world.rows("SELECT id FROM operations ORDER BY id LIMIT 2")]
    await world.execute("UPDATE outbox SET delivered_at = now() - interval '6 days'")
    await world.execute(
        "UPDATE events SET created_at = now() - interval '2 hours' WHERE stream = %s", f"operation/{old}"
    )
    for operation_id in (old, kept):
        await world.execute(
            "UPDATE operations SET completed_at = now() - interval '2 hours', status = 'cancelled' WHERE id = %s",
            operation_id,
        )
    assert (await sweep(world, "some-purged")).purged > 0
    after = await _counts(world)
    assert after["messages"] == before["messages"], "delivered less than a week ago"
    assert after["operation streams"] == before["operation streams"] - 1, "of the operation that has no event any more"
    assert after["organization streams"] == before["organization streams"]
    assert not await world.rows("SELECT 1 FROM events WHERE stream = %s", f"operation/{old}")
    assert await world.rows("SELECT 1 FROM events WHERE stream = %s", f"operation/{kept}")
    await world.execute("UPDATE outbox SET delivered_at = now() - interval '8 days'")
    await sweep(world)
    assert (await _counts(world))["messages"] == 0
    assert (await sweep(world)).purged == 0


async def _counts(world: InstanceWorld) -> dict[str, int]:
    [found] = await world.rows(
        "SELECT (SELECT count(*) FROM outbox) AS messages, "
        "(SELECT count(*) FROM event_streams WHERE stream LIKE 'operation/%%') AS \"operation streams\", "
        "(SELECT count(*) FROM event_streams WHERE stream LIKE 'organization/%%') AS \"organization streams\""
    )
    return found


async def test_a_kind_of_streams_is_kept_for_its_own_time(real_time_world: InstanceWorld) -> None:
    world = real_time_world
    organization = world.principal.organization_id
    for stream in ("instance/a", "gadget/b"):
        await world.rows("SELECT append_event(%s, %s, 'log', '{}')", stream, organization)
    await world.execute("UPDATE events SET created_at = now() - interval '2 hours'")
    day_s, rest = 86_400.0, {"instance": 3600.0}
    await SweeperRows(world.database, events_kept_s=day_s, events_kept_by_stream=rest).purge()
    assert [row["stream"] for row in await world.rows("SELECT stream FROM events")] == ["gadget/b"]
    await SweeperRows(world.database, events_kept_s=3600.0, events_kept_by_stream={"gadget": day_s}).purge()
    assert len(await world.rows("SELECT 1 FROM events")) == 1, "the longer time counts too"
    await SweeperRows(world.database, events_kept_s=3600.0).purge()
    assert not await world.rows("SELECT 1 FROM events")
    assert len(await world.rows("SELECT 1 FROM event_streams")) == 2, "their numbers go on"
