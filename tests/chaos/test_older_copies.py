"""A database put back that is older than the workflow engine, and the other way round, with instances in every state between.

The oracle is the outside, as always: no machine twice, none left that is not told of, every bill what the meter came to.
"""

import asyncio
import json
import subprocess
from uuid import UUID

from temporalio.client import WorkflowExecutionStatus

from tests.chaos import scoreboard
from tests.chaos.copies import Copies
from tests.chaos.installation import Installation, Row
from tests.chaos.ledger import made_outside, verify
from tests.chaos.owners import HEALED_WITHIN_S, until_owned
from tests.chaos.scenarios import MARKS, scenario_with
from tests.embedded.driver import command, environment

pytestmark = [*MARKS]

QUICK = {"QUARTERDECK_WORKER_STALE_SECONDS": "10", "QUARTERDECK_UNAVAILABLE_WAIT_S": "1"}
BUILDS_S = 12
REINSTALLED = 2
"""The generation that a first reinstall installs. A restart of the agent on top is a later one, of which the machine knows nothing."""


async def building(installation: Installation) -> UUID:
    """An instance whose machine exists, is on record, and takes long."""
    await installation.fault("create", "slow_build", delay_s=BUILDS_S, count=1)
    [made] = await installation.deploy("mock")
    await installation.until([made], lambda row: row["provider_instance_id"] is not None, 10.0)
    return made


async def booting(installation: Installation) -> UUID:
    """An instance whose machine runs, and whose agent has not registered yet."""
    await installation.fault("create", "slow_start", delay_s=BUILDS_S, count=1)
    [made] = await installation.deploy("mock")
    await installation.until_status([made], "booting")
    return made


async def terminating(installation: Installation, ready: UUID) -> UUID:
    """An instance whose removal the provider does not carry out yet."""
    await installation.fault("delete", "ignored")
    await installation.terminate(ready)
    await installation.until_status([ready], "terminating")
    return ready


def is_ready(row: Row, least_generation: int) -> bool:
    """On a slow machine an agent may be silent for the stale time, and is restarted on top: that is another generation."""
    return bool(row["status"] == "ready" and row["generation"] >= least_generation)


async def reinstalled(installation: Installation, ready: UUID, least_generation: int = REINSTALLED) -> int:
    """The generation that serves then."""
    await installation.reinstall(ready)
    await installation.until([ready], lambda row: is_ready(row, least_generation), 30.0)
    generation: int = (await installation.instances([ready]))[ready]["generation"]
    return generation


async def unowned(installation: Installation) -> set[str]:
    return {row["provider_instance_id"] for row in await installation.rows("SELECT * FROM unowned_machines")}


async def until_unowned(installation: Installation, machines: set[str]) -> None:
    async with asyncio.timeout(scoreboard.patience_s(HEALED_WITHIN_S)):
        while await unowned(installation) != machines:
            await asyncio.sleep(0.2)


async def health(installation: Installation) -> tuple[str, int]:
    said = (await installation.call("GET", "/health")).json()
    return said["status"], said["unowned_machines"]


async def until_health(installation: Installation, status: str, machines: int) -> None:
    """The API counts every few seconds."""
    async with asyncio.timeout(scoreboard.patience_s(20)):
        while await health(installation) != (status, machines):
            await asyncio.sleep(0.2)


async def live_outside(installation: Installation) -> dict[UUID, list[str]]:
    return {one: made.live for one, made in (await made_outside(installation)).items() if made.live}


async def quarterdeck(installation: Installation, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**environment(installation.folder), **installation.variables}
    return await asyncio.to_thread(command, env, *arguments)


@scenario_with(**QUICK)
async def test_a_database_older_than_the_engine(installation: Installation) -> None:
    copies = Copies(installation, "database")
    kept, ended, again, going = await installation.ready("mock", 4)
    [kept_here] = await installation.ready("local")
    slow, boots = await building(installation), await booting(installation)
    await terminating(installation, going)
    await copies.take_database()

    await installation.end_faults()
    await installation.terminate(ended)
    await reinstalled(installation, again)
    made, brief = await installation.ready("mock", 2)
    [made_here] = await installation.ready("local")
    await installation.terminate(brief)
    await installation.until_status([ended, brief, going], "terminated")
    await installation.until_status([slow, boots], "ready")
    outside = await live_outside(installation)
    lost = {*outside[made], *outside[made_here]}
    await copies.put_database_back()

    live = [kept, kept_here, slow, boots, again]
    took = await installation.until_status(live, "ready", HEALED_WITHIN_S)
    await installation.until_status([ended, going], "terminated", HEALED_WITHIN_S)
    await installation.until([again], lambda row: is_ready(row, REINSTALLED), HEALED_WITHIN_S)
    scoreboard.recovered("database of before put back", len(live) + 2, took)
    await until_unowned(installation, lost)
    await until_owned(installation, set(live))
    client = await installation.temporal_client()
    for forgotten in (made, made_here):
        description = await client.get_workflow_handle(f"instance/{forgotten}").describe()
        assert description.status is WorkflowExecutionStatus.COMPLETED
    await verify(installation, [*live, ended, going])
    assert await live_outside(installation) == outside, "nothing was made, and nothing ended that nobody wanted to end"

    await until_health(installation, "degraded", 2)
    listed, examined = await asyncio.gather(
        quarterdeck(installation, "machines", "--json"), quarterdeck(installation, "doctor")
    )
    assert {one["provider_instance_id"] for one in json.loads(listed.stdout)["unowned"]} == lost, listed.stderr
    assert all(f"machine {one}: " in examined.stdout for one in lost), examined.stdout
    for one in lost:
        done = await quarterdeck(installation, "machines", "end", one, "--yes")
        assert (done.returncode, "beginning now" in done.stdout) == (0, True), done.stderr
    await until_unowned(installation, set())
    await until_health(installation, "healthy", 0)
    assert (await live_outside(installation)).keys() == set(live)
    await installation.terminate(*live)
    await installation.until_status(live, "terminated")
    await verify(installation, [*live, ended, going])
    assert await live_outside(installation) == {}


@scenario_with(**QUICK)
async def test_an_engine_older_than_the_database(installation: Installation) -> None:
    copies = Copies(installation, "engine")
    kept, ended, again, going, halfway = await installation.ready("mock", 5)
    [kept_here] = await installation.ready("local")
    slow, boots = await building(installation), await booting(installation)
    await terminating(installation, going)
    await copies.take_engine()

    await installation.end_faults()
    await installation.terminate(ended)
    generation = await reinstalled(installation, again)
    made, brief = await installation.ready("mock", 2)
    await installation.terminate(brief)
    await installation.until_status([ended, brief, going], "terminated")
    await installation.until_status([slow, boots], "ready")
    late = await building(installation)
    await terminating(installation, halfway)
    outside = await live_outside(installation)
    await copies.put_engine_back()

    live, over = [kept, kept_here, slow, boots, again, made, late], [ended, going, brief, halfway]
    await until_owned(installation, {*live, halfway})
    await installation.until_status(live, "ready", HEALED_WITHIN_S)
    assert await live_outside(installation) == outside
    await installation.end_faults()
    await installation.until_status([halfway], "terminated", HEALED_WITHIN_S)
    await until_owned(installation, set(live))
    await verify(installation, [*live, *over])
    assert await unowned(installation) == set()
    await until_health(installation, "healthy", 0)
    await reinstalled(installation, again, generation + 1)  # by an owner of a time before the first reinstall
    await installation.terminate(*live)
    await installation.until_status(live, "terminated", HEALED_WITHIN_S)
    await verify(installation, [*live, *over])
    await until_owned(installation, set())
    assert await live_outside(installation) == {}


@scenario_with(**QUICK)
async def test_an_engine_that_lost_its_last_seconds(installation: Installation) -> None:
    """As after a power cut. At most one sweep came between, so that only what was delivered says that something is missing."""
    copies = Copies(installation, "last-seconds")
    kept, going = await installation.ready("mock", 2)
    await copies.take_engine()
    await terminating(installation, going)
    await copies.put_engine_back()

    await installation.end_faults()
    took = await installation.until_status([going], "terminated", HEALED_WITHIN_S)
    scoreboard.recovered("engine of seconds before put back", 1, took)
    await until_owned(installation, {kept})
    await installation.terminate(kept)
    await installation.until_status([kept], "terminated", HEALED_WITHIN_S)
    await verify(installation, [kept, going])
    assert await live_outside(installation) == {}
