"""A cloud that lets few calls through: what it lets through is used, and it is not asked more often than that is worth.

The oracle is the cloud's own count of calls and its ledger.
"""

from tests.chaos import scoreboard
from tests.chaos.installation import Installation
from tests.chaos.ledger import verify
from tests.chaos.scenarios import MARKS, scenario

pytestmark = [*MARKS]

INSTANCES = 8
RIGHT_WITHIN_S = 90.0
CLASSES = ("create", "describe", "list", "delete", "volumes")
CALLS_OF_ONE = 40
"""Calls that were let through for one instance, from its order to its end: some 20 by hand, and looks that are repeated."""


async def counted(installation: Installation) -> tuple[int, int]:
    """Calls that were let through, and calls that were told to slow down, since the cloud was started."""
    shown = (await installation.cloud.get("/sim/calls")).json()
    return shown["received"] - shown["throttled"], shown["throttled"]


@scenario
async def test_with_four_calls_in_five_refused_everything_is_made_and_removed(installation: Installation) -> None:
    passed, refused = await counted(installation)
    for number, request_class in enumerate(CLASSES):
        await installation.fault(request_class, "throttled", probability=0.8, seed=number, retry_after_s=0.1)
    made = await installation.deploy("mock", INSTANCES)
    await installation.until_status(made, "ready", RIGHT_WITHIN_S)
    passed_by_dice, refused_by_dice = await counted(installation)
    if not scoreboard.FULL:
        await installation.end_faults()
    await installation.terminate(*made)
    await installation.until_status(made, "terminated", RIGHT_WITHIN_S)
    passed_now, _ = await counted(installation)
    await installation.end_faults()
    await verify(installation, made)
    assert refused_by_dice - refused > passed_by_dice - passed, "the dice refused most of them"
    assert passed_now - passed <= CALLS_OF_ONE * INSTANCES


@scenario
async def test_with_a_limit_on_calls_the_limit_is_used_and_not_besieged(installation: Installation) -> None:
    rate = {"calls_per_s": 10, "burst": 2, "retry_after_s": 0.5}
    passed, refused = await counted(installation)
    assert (await installation.cloud.put("/sim/rate", json=rate)).is_success
    try:
        made = await installation.deploy("mock", INSTANCES)
        await installation.until_status(made, "ready", RIGHT_WITHIN_S)
        passed_now, refused_now = await counted(installation)
    finally:
        assert (await installation.cloud.delete("/sim/rate")).is_success
    assert refused_now > refused, "the limit was never reached"
    assert refused_now - refused <= 3 * (passed_now - passed), "who is refused comes back later each time"
    await installation.terminate(*made)
    await installation.until_status(made, "terminated")
    await verify(installation, made)
