"""The servers below us: Temporal and PostgreSQL killed in the middle of things, and a worker that stands still for long."""

import asyncio
import time

import httpx

from tests.chaos import scoreboard
from tests.chaos.installation import Installation
from tests.chaos.ledger import verify
from tests.chaos.scenarios import MARKS, scenario

pytestmark = [*MARKS]

DOWN_S = 3.0
STANDSTILL_S = 20.0
BACK_WITHIN_S = 40.0


@scenario
async def test_temporal_killed_while_instances_are_made_and_ended(installation: Installation) -> None:
    to_end = await installation.ready("mock", 3)
    local = await installation.deploy("local")
    made = await installation.deploy("mock", 6)
    await installation.terminate(*to_end)
    await asyncio.sleep(0.3)
    await installation.temporal.kill()
    meanwhile = await installation.deploy("mock", 2)  # accepted: the row and its message need no Temporal
    for path in ("/instances", f"/instances/{made[0]}", "/v1/models"):
        assert (await installation.call("GET", path)).status_code == 200, f"{path} needs no Temporal"
    await asyncio.sleep(DOWN_S)
    await installation.temporal.start()
    took = await installation.until_status([*made, *meanwhile, *local], "ready", BACK_WITHIN_S)
    await installation.until_status(to_end, "terminated", BACK_WITHIN_S)
    scoreboard.recovered("temporal killed", len(made) + len(meanwhile) + len(local) + len(to_end), took)
    everything = [*made, *meanwhile, *local, *to_end]
    await verify(installation, everything)
    await installation.terminate(*made, *meanwhile, *local)
    await installation.until_status(everything, "terminated")
    await verify(installation, everything)


@scenario
async def test_postgres_killed_while_instances_are_made_and_ended(installation: Installation) -> None:
    """While it is away the API says so (503 with Retry-After) and nothing is given up; afterwards nothing is lost."""
    to_end = await installation.ready("mock", 3)
    made = await installation.deploy("mock", 6)
    await installation.terminate(*to_end)
    await asyncio.sleep(0.3)
    await installation.postgres.kill()
    refused = await installation.call("POST", "/deployments", body={"model_id": "mock-echo-model"})
    assert (refused.status_code, refused.json()["code"]) == (503, "DATABASE_UNAVAILABLE"), refused.text
    assert int(refused.headers["retry-after"]) > 0
    await asyncio.sleep(DOWN_S)
    assert installation.api.runs(), "the API waits for its database"
    assert installation.worker.runs(), "the worker waits for its database"
    await installation.postgres.start()
    took = await installation.until_status(made, "ready", BACK_WITHIN_S)
    await installation.until_status(to_end, "terminated", BACK_WITHIN_S)
    scoreboard.recovered("postgres killed", len(made) + len(to_end), took)
    await verify(installation, [*made, *to_end])
    await _answers(installation)
    await installation.terminate(*made)
    await installation.until_status(made, "terminated")
    await verify(installation, made)


@scenario
async def test_a_worker_that_stood_still_for_long_doubles_nothing(installation: Installation) -> None:
    """Frozen in the middle of its creates, given up for dead, and back: what it goes on doing then was done by nobody else.

    No other worker runs, so its attempts are timed out by the server and repeated by itself.
    """
    to_end = await installation.ready("mock", 2)
    slow = await installation.fault("create", "slow", delay_s=2.0, count=4)
    made = await installation.deploy("mock", 4)
    async with asyncio.timeout(scoreboard.patience_s(10)):
        while await installation.fired(slow) < 4:
            await asyncio.sleep(0.05)
    await installation.terminate(*to_end)
    installation.worker.freeze()
    await asyncio.sleep(STANDSTILL_S)
    installation.worker.thaw()
    took = await installation.until_status(made, "ready", BACK_WITHIN_S)
    await installation.until_status(to_end, "terminated", BACK_WITHIN_S)
    scoreboard.recovered(f"worker frozen for {STANDSTILL_S:.0f} s", len(made) + len(to_end), took)
    await verify(installation, [*made, *to_end])
    await installation.terminate(*made)
    await installation.until_status(made, "terminated")
    await verify(installation, made)


@scenario
async def test_dstack_1551_net_loss_marks_terminated(installation: Installation) -> None:
    """A cloud that cannot be reached says nothing about its machines: none is marked as gone, none is made anew."""
    made = await installation.ready("mock", 3)
    await installation.simcloud.kill()
    [waiting] = await installation.deploy("mock")
    await asyncio.sleep(DOWN_S)
    rows = await installation.instances([*made, waiting])
    assert {rows[one]["status"] for one in made} <= {"ready", "unavailable"}
    assert rows[waiting]["status"] == "provisioning"
    await installation.simcloud.start()
    await installation.until_status([*made, waiting], "ready", 25.0)
    await verify(installation, [*made, waiting])
    await installation.terminate(*made, waiting)
    await installation.until_status([*made, waiting], "terminated")
    await verify(installation, [*made, waiting])


async def _answers(installation: Installation) -> None:
    """The API reads again within a moment of its database's return."""
    deadline = time.monotonic() + scoreboard.patience_s(10)
    while True:
        answer: httpx.Response = await installation.call("GET", "/instances")
        if answer.status_code == 200:
            return
        assert answer.status_code == 503, answer.text
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
