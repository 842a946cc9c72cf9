"""What toys have done every minute, by their rows: with the worker killed wherever a row is on its way to Temporal, and where a run
orders something.
"""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import httpx
import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.runtime.crash import CRASH_AT, CRASH_ONCE
from api.commands import CRASH_POINT
from models.base.ids import new_id
from models.contracts.schedules import LookAtSchedules, schedule_id_of
from models.contracts.workflow_ids import SCHEDULES
from tests.chaos.installation import Installation, installed
from tests.chaos.processes import Armed
from tests.memory import folder_in_memory
from tests.patience import GIVE_UP_S
from tests.toys.test_toys import PROGRAM, asked_to_break, decided, ended, made, until, until_status
from workers.embedded.stack import Programs

POINTS = [f"reconcile_schedules:{point}" for point in ("before_call", "after_call", "after_call@2", "after_return")]
ORDER_POINTS = [f"order_scheduled:{point}" for point in ("before_call", "after_call", "after_return")]

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    programs = Programs(migrate=(*PROGRAM, "migrate"), api=(*PROGRAM, "api"), worker=(*PROGRAM, "worker"))
    with folder_in_memory("toy-schedules", tmp_path_factory.mktemp("toy-schedules")) as home:
        async with installed(home, programs) as running:
            yield running


async def schedule_of(installation: Installation, toy_id: str) -> UUID:
    [row] = await installation.rows("SELECT id FROM schedules WHERE resource_id = %s", UUID(toy_id))
    found: UUID = row["id"]
    return found


async def until_settled(installation: Installation) -> None:
    async def is_so() -> bool:
        return not await installation.rows("SELECT 1 FROM schedules WHERE state <> 'applied'")

    await until(is_so)


async def paused_in_temporal(client: Client, schedule_id: UUID) -> bool | None:
    """None where there is no such schedule."""
    try:
        return (await client.get_schedule_handle(schedule_id_of(schedule_id)).describe()).schedule.state.paused
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None


async def say(installation: Installation, state: str, schedule_id: UUID) -> None:
    """As a request would have it."""
    await installation.rows(
        "UPDATE schedules SET state = %s, is_paused = true, revision = revision + 1 WHERE id = %s", state, schedule_id
    )


async def ticks(installation: Installation, toy_id: str) -> Sequence[str]:
    found = await installation.rows(
        "SELECT status FROM operations WHERE resource_id = %s AND kind = 'toy.tick'", UUID(toy_id)
    )
    return [row["status"] for row in found]


async def test_a_worker_killed_between_row_and_schedule_leaves_nothing_behind(installation: Installation) -> None:
    """With one schedule being made, one changed and one removed at each point. The worker stands still until all three rows are there."""
    client = await installation.temporal_client()
    schedules = client.get_workflow_handle(SCHEDULES)
    toys = [await made(installation) for _ in range(2 * len(POINTS))]
    await until_settled(installation)
    ids = [await schedule_of(installation, one) for one in toys]
    armed = Armed(installation.worker, installation.folder / "worker.once")
    await installation.worker.kill()
    await armed.start(POINTS[0])
    for changed, removed, point, following in zip(ids[::2], ids[1::2], POINTS, [*POINTS[1:], None], strict=True):
        installation.worker.freeze()
        await say(installation, "pending", changed)
        await say(installation, "removing", removed)
        answer = await installation.call("POST", "/toys?name=new")
        new = await schedule_of(installation, answer.json()["resource"]["id"])
        await schedules.signal("look", LookAtSchedules())
        armed.make_due()
        installation.worker.thaw()
        await armed.dies()
        await armed.start(following)
        await schedules.signal("look", LookAtSchedules())
        await until_settled(installation)
        assert [await paused_in_temporal(client, one) for one in (new, changed, removed)] == [False, True, None], point
        assert not await installation.rows("SELECT 1 FROM schedules WHERE id = %s", removed)


async def test_what_is_still_open_when_a_toy_ends_is_given_up(installation: Installation) -> None:
    """The tick was asked for while somebody was to say whether the toy may be broken."""
    toy_id = await made(installation)
    breaking = await asked_to_break(installation, toy_id)
    await installation.rows(
        "INSERT INTO operations (id, organization_id, kind, status, resource_kind, resource_id, workflow_id, progress_percent, created_at) "
        "SELECT %s, organization_id, 'toy.tick', 'pending', resource_kind, resource_id, workflow_id, 0, now() "
        "FROM operations WHERE id = %s",
        new_id(),
        UUID(breaking),
    )
    await decided(installation, breaking)
    await until_status(installation, toy_id, "broken")
    assert [one for one in await ticks(installation, toy_id) if one != "succeeded"] == ["cancelled"]


async def test_a_worker_killed_while_a_run_orders_has_it_ordered_once(installation: Installation) -> None:
    client = await installation.temporal_client()
    toys = [await made(installation) for _ in ORDER_POINTS]
    await until_settled(installation)
    ids = [await schedule_of(installation, one) for one in toys]
    await installation.rows(  # no minute of its own comes in between
        "UPDATE schedules SET interval_s = 86400, state = 'pending', revision = revision + 1 WHERE id = ANY(%s)", ids
    )
    await client.get_workflow_handle(SCHEDULES).signal("look", LookAtSchedules())
    await until_settled(installation)
    armed = Armed(installation.worker, installation.folder / "worker.once")
    await installation.worker.kill()
    await armed.start(ORDER_POINTS[0])
    for toy_id, schedule_id, following in zip(toys, ids, [*ORDER_POINTS[1:], None], strict=True):
        before = len(await ticks(installation, toy_id))
        armed.make_due()
        await client.get_schedule_handle(schedule_id_of(schedule_id)).trigger()
        await armed.dies()
        await armed.start(following)

        async def has_ticked(toy_id: str = toy_id, ticked: int = before + 1) -> bool:
            return await ticks(installation, toy_id) == ["succeeded"] * ticked

        await until(has_ticked)


@pytest.mark.parametrize("point", ["before_call", "after_call", "after_return"])
async def test_a_schedule_that_is_run_now_is_run_once_whoever_is_killed(installation: Installation, point: str) -> None:
    """The API at each line of the request, then the worker in the transaction that answers: the key finds the operation."""
    toy_id = await made(installation)
    await installation.rows(  # no minute of its own comes in between
        "UPDATE schedules SET interval_s = 86400, is_paused = true, state = 'pending', revision = revision + 1 "
        "WHERE resource_id = %s",
        UUID(toy_id),
    )
    before, path, key = len(await ticks(installation, toy_id)), f"/toys/{toy_id}/tick", f"now-{point}"
    await installation.worker.kill()
    await installation.api.kill()
    marker = installation.folder / f"now-{point}.once"
    await installation.api.start(**{CRASH_AT: f"{CRASH_POINT}:{point}", CRASH_ONCE: str(marker)})
    with pytest.raises(httpx.TransportError):
        await installation.call("POST", path, key=key)
    assert await installation.api.killed_itself(GIVE_UP_S)
    await installation.api.start()
    again = [await installation.call("POST", path, key=key) for _ in range(2)]
    assert [one.status_code for one in again] == [202, 202], [one.text for one in again]
    [operation] = {one.json()["id"] for one in again}
    mark = installation.folder / f"tick-{point}.once"
    await installation.worker.start(**{CRASH_AT: "project_toy:after_call", CRASH_ONCE: str(mark)})
    assert await installation.worker.killed_itself(GIVE_UP_S)
    await installation.worker.start()
    assert (await ended(installation, again[0].json()))["status"] == "succeeded"
    assert (await installation.call("POST", path, key=key)).json()["id"] == operation
    assert await ticks(installation, toy_id) == ["succeeded"] * (before + 1)
