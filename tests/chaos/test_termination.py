"""Terminate at every moment of an instance's life, twice at once: one end, nothing left, nothing made behind its back."""

import asyncio
from uuid import UUID

from tests.chaos import scoreboard
from tests.chaos.installation import Installation, Row
from tests.chaos.ledger import verify
from tests.chaos.scenarios import MARKS, scenario

pytestmark = [*MARKS]

LATE_S = 15.0
GONE_WITHIN_S = 75.0
"""An end that comes before the outcome of the create is known waits for the settle time (45 s) where no machine shows up."""


async def end_twice(installation: Installation, instance_id: UUID) -> None:
    """Two requests at the same moment: one operation, and both are told of it."""
    first, second = await asyncio.gather(*(installation.call("DELETE", f"/instances/{instance_id}") for _ in range(2)))
    assert {first.status_code, second.status_code} <= {200, 202}, (first.text, second.text)
    told = {answer.json()["operation"]["id"] for answer in (first, second) if answer.json()["operation"]}
    assert len(told) == 1, "two terminates, one operation"


async def fired(installation: Installation, fault_id: int) -> None:
    async with asyncio.timeout(scoreboard.patience_s(10)):
        while not await installation.fired(fault_id):
            await asyncio.sleep(0.02)


def is_waiting_for(what: str, row: Row) -> bool:
    return bool(row["waiting_on"] == what)


@scenario
async def test_dstack_2068_cancel_while_provisioning(installation: Installation) -> None:
    """Each step held by the cloud, ended there: before the create, in it, after its lost answer, in BUILD, before the agent."""
    held: dict[str, UUID] = {}
    await installation.fault("create", "slow_start", delay_s=60, count=1)
    [held["the agent's start"]] = await installation.deploy("mock")
    await installation.until_status([held["the agent's start"]], "booting")
    await installation.fault("create", "slow_build", delay_s=60, count=1)
    [held["the build"]] = await installation.deploy("mock")
    await installation.until([held["the build"]], lambda row: is_waiting_for("MACHINE_RUNS", row), 10.0)
    look = await installation.fault("list", "slow", delay_s=LATE_S, count=1)
    [held["the look before the create"]] = await installation.deploy("mock")
    await fired(installation, look)
    create = await installation.fault("create", "slow", delay_s=LATE_S, count=1)
    [held["the create"]] = await installation.deploy("mock")
    await fired(installation, create)
    lost = await installation.fault("create", "lost_response", count=1)
    [held["a lost answer"]] = await installation.deploy("mock")
    await fired(installation, lost)

    await asyncio.gather(*(end_twice(installation, one) for one in held.values()))
    took = await installation.until_status(list(held.values()), "terminated", GONE_WITHIN_S)
    scoreboard.recovered("terminate at every step", len(held), took)
    await verify(installation, list(held.values()), at_most_one=True)
    await asyncio.sleep(max(0.0, LATE_S - took))  # until the slow answers would have arrived
    await verify(installation, list(held.values()), at_most_one=True)
    provisions = await installation.rows(
        "SELECT status FROM operations WHERE kind = 'instance.provision' AND resource_id = ANY(%s)", list(held.values())
    )
    assert {row["status"] for row in provisions} == {"cancelled"}


@scenario
async def test_ended_while_its_agent_starts_on_this_machine(installation: Installation) -> None:
    """The provider `local`: an agent that is being launched, that loads its model, that serves."""
    made = []
    for pause_s in (0.0, 0.3, 0.8, 1.6):
        [one] = await installation.deploy("local")
        await asyncio.sleep(pause_s)
        await end_twice(installation, one)
        made.append(one)
    await installation.until_status(made, "terminated", GONE_WITHIN_S)
    await verify(installation, made, at_most_one=True)


@scenario
async def test_reinstall_and_terminate_at_once(installation: Installation) -> None:
    """Whichever is first, the machine ends."""
    made = await installation.ready("mock", 4)
    answers = await asyncio.gather(
        *(installation.call("POST", f"/instances/{one}/reinstall", body={}) for one in made),
        *(installation.call("DELETE", f"/instances/{one}") for one in made),
    )
    assert {answer.status_code for answer in answers} <= {202, 409}, [answer.text for answer in answers]
    await installation.until_status(made, "terminated")
    await verify(installation, made)
    still_open = await installation.rows(
        "SELECT kind FROM operations WHERE resource_id = ANY(%s) AND status IN ('pending', 'running')", made
    )
    assert still_open == []
