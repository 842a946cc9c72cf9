"""An order that goes on to another zone, killed wherever it stands: by the cloud's ledger it makes one machine, in one zone."""

import pytest

from activities.runtime.crash import CRASH_AT, CRASH_ONCE
from tests.chaos import scoreboard
from tests.chaos.installation import Installation
from tests.chaos.ledger import verify
from tests.chaos.scenarios import MARKS, scenario

pytestmark = [*MARKS]

RIGHT_WITHIN_S = 25.0
"""A killed create looks for its machine for as long as the cloud may hide it, once per zone."""
TYPE = "sim-l4-1-24g"

POINTS = [
    "create_machine:before_call",  # in the first zone: what was sent there is not known any more
    "create_machine:after_call",  # a refusal never passes it: made in the second zone
    "project_instance:before_call@2",  # the move from one zone to the next
    "project_instance:after_call@2",
]
if scoreboard.FULL:
    POINTS += [
        "create_machine:before_call@2",
        "create_machine:after_return",
        "project_instance:after_return@2",
        "freeze_machine_spec:after_call@2",
    ]


@pytest.mark.parametrize("point", POINTS)
@scenario
async def test_a_kill_between_zones_makes_no_second_machine(installation: Installation, point: str) -> None:
    once = installation.folder / f"zones-{point.replace(':', '-')}.once"
    await installation.worker.kill()
    await installation.worker.start(**{CRASH_AT: point, CRASH_ONCE: str(once)})
    await installation.fault("create", "no_capacity", zone="local")
    [one] = await installation.deploy("mock")
    assert await installation.worker.killed_itself(RIGHT_WITHIN_S)
    assert once.exists()
    await installation.worker.start()
    took = await installation.until_status([one], "ready", RIGHT_WITHIN_S)
    row = (await installation.instances([one]))[one]
    assert (row["zone_code"], str(row["price_eur_per_hour"])) == ("sim-b", "0.790000")
    await verify(installation, [one])
    scoreboard.recovered(f"order between zones {point}", 1, took)
    await installation.terminate(one)
    await installation.until_status([one], "terminated")
    await verify(installation, [one])


@scenario
async def test_a_machine_of_a_lost_answer_is_the_one_wherever_the_order_goes(installation: Installation) -> None:
    """It took the last place of its zone, the cloud hides it for a while, and another worker goes on."""
    once = installation.folder / "zones-lost.once"
    await installation.worker.kill()
    await installation.worker.start(**{CRASH_AT: "create_machine:after_call", CRASH_ONCE: str(once)})
    assert (await installation.cloud.put(f"/sim/offers/local/{TYPE}", json={"capacity": 1})).is_success
    await installation.fault("create", "describe_lag", zone="local", lag_s=4, count=1)
    [one] = await installation.deploy("mock")
    assert await installation.worker.killed_itself(RIGHT_WITHIN_S)
    await installation.worker.start()
    await installation.until_status([one], "ready", RIGHT_WITHIN_S)
    assert (await installation.instances([one]))[one]["zone_code"] == "local"
    await verify(installation, [one])
    [other] = await installation.deploy("mock")
    await installation.until_status([other], "ready", RIGHT_WITHIN_S)
    assert (await installation.instances([other]))[other]["zone_code"] == "sim-b"
    await installation.terminate(one, other)
    await installation.until_status([one, other], "terminated")
    await verify(installation, [one, other])
    assert (await installation.cloud.put(f"/sim/offers/local/{TYPE}", json={"capacity": 64})).is_success
