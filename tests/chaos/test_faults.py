"""The cloud misbehaves at every request: each instance ends in the right state, with one machine or none, and its bill closed.

Everything goes through the product; only the faults are switched on at the simulated cloud, and the oracle is its ledger.
"""

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

import psutil
import pytest

from tests.chaos import scoreboard
from tests.chaos.installation import Installation
from tests.chaos.ledger import made_outside, verify
from tests.chaos.scenarios import MARKS, scenario

pytestmark = [*MARKS]

RIGHT_WITHIN_S = 30.0
AMBIGUOUS = ("error_after", "lost_response")
NOTHING_DONE = ("error_before", "lost_request")


@dataclass(frozen=True)
class Fault:
    request_class: str
    kind: str
    settings: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.request_class}-{self.kind}"


CREATES = [
    *(Fault("create", kind) for kind in (*AMBIGUOUS, *NOTHING_DONE)),
    Fault("create", "throttled", {"retry_after_s": 2}),
    Fault("create", "slow", {"delay_s": 2}),
    Fault("create", "describe_lag", {"lag_s": 3}),
    Fault("create", "slow_build", {"delay_s": 3}),
    Fault("create", "slow_start", {"delay_s": 3}),
]
"""Faults that an order survives: it becomes ready, on one machine."""


async def ordered_under(installation: Installation, faults: list[Fault]) -> list[UUID]:
    """One order for each fault, which meets that one's first request and nothing else."""
    made = []
    for fault in faults:
        number = await installation.fault(fault.request_class, fault.kind, count=1, **fault.settings)
        made += await installation.deploy("mock")
        async with asyncio.timeout(scoreboard.patience_s(10)):
            while not await installation.fired(number):
                await asyncio.sleep(0.02)
    return made


@scenario
async def test_every_fault_of_a_create_leaves_one_machine(installation: Installation) -> None:
    made = await ordered_under(installation, CREATES)
    await installation.until_status(made, "ready", RIGHT_WITHIN_S)
    await verify(installation, made)
    await installation.terminate(*made)
    await installation.until_status(made, "terminated")
    await verify(installation, made)


@scenario
async def test_dstack_3453_a_lost_answer_to_a_machine_that_is_not_shown_yet(installation: Installation) -> None:
    """The hardest create there is: carried out, not answered, and invisible for a while."""
    for kind in AMBIGUOUS:
        await installation.fault("create", kind, count=2)
        await installation.fault("create", "describe_lag", count=2, lag_s=4)
        made = await installation.deploy("mock", 2)
        await installation.until_status(made, "ready", RIGHT_WITHIN_S)
        await verify(installation, made)
        await installation.terminate(*made)
        await installation.until_status(made, "terminated")
        await verify(installation, made)


@pytest.mark.parametrize("request_class", ["list", "describe"])
@scenario
async def test_reads_that_fail_hold_nothing_up_for_long(installation: Installation, request_class: str) -> None:
    """Each of the first eight requests of the class fails in another way, among four orders."""
    for kind in (*AMBIGUOUS, *NOTHING_DONE):
        await installation.fault(request_class, kind, count=1)
    await installation.fault(request_class, "throttled", count=2, retry_after_s=1)
    made = await installation.deploy("mock", 4)
    await installation.until_status(made, "ready", RIGHT_WITHIN_S)
    await verify(installation, made)
    await installation.terminate(*made)
    await installation.until_status(made, "terminated")
    await verify(installation, made)


@scenario
async def test_every_fault_of_a_deletion_is_survived(installation: Installation) -> None:
    """500 though deleted, 200 though not deleted, dropped connections, 429: gone in the end, and only then terminated."""
    kinds = [*AMBIGUOUS, *NOTHING_DONE, "throttled", "ignored"]
    made = await installation.ready("mock", len(kinds))
    for one, kind in zip(made, kinds, strict=True):
        number = await installation.fault("delete", kind, count=1)
        await installation.terminate(one)
        async with asyncio.timeout(scoreboard.patience_s(10)):
            while not await installation.fired(number):
                await asyncio.sleep(0.02)
    await installation.until_status(made, "terminated", RIGHT_WITHIN_S)
    await verify(installation, made)


@scenario
async def test_every_fault_of_a_reinstall_is_survived(installation: Installation) -> None:
    kinds = [*AMBIGUOUS, *NOTHING_DONE, "throttled", "ignored", "slow"]
    made = await installation.ready("mock", len(kinds))
    for one, kind in zip(made, kinds, strict=True):
        number = await installation.fault("reinstall", kind, count=1)
        await installation.reinstall(one)
        async with asyncio.timeout(scoreboard.patience_s(10)):
            while not await installation.fired(number):
                await asyncio.sleep(0.02)
    await installation.until(made, lambda row: row["status"] == "ready" and row["generation"] == 2, RIGHT_WITHIN_S)
    await verify(installation, made)
    await installation.terminate(*made)
    await installation.until_status(made, "terminated")
    await verify(installation, made)


@scenario
async def test_dstack_3241_a_deletion_that_is_refused_goes_on_until_it_is_not(installation: Installation) -> None:
    """A machine in BUILD takes no orders (403). The instance says what it waits for; its machine goes as soon as it can."""
    [one] = await ordered_under(installation, [Fault("create", "stuck_in_build")])
    await installation.until([one], lambda row: row["provider_instance_id"] is not None, 10.0)
    refusing = await installation.fault("delete", "forbidden_while_provisioning")
    await installation.terminate(one)
    async with asyncio.timeout(scoreboard.patience_s(10)):
        while await installation.fired(refusing) < 2:
            await asyncio.sleep(0.05)
    row = (await installation.instances([one]))[one]
    assert (row["status"], row["waiting_on"]) == ("terminating", "MACHINE_DELETED")
    await installation.end_fault(refusing)
    await installation.until_status([one], "terminated", RIGHT_WITHIN_S)
    await verify(installation, [one])


@scenario
async def test_no_capacity_fails_and_makes_nothing(installation: Installation) -> None:
    everywhere = await installation.fault("create", "no_capacity")
    [one] = await installation.deploy("mock")
    await installation.until_status([one], "failed")
    await installation.end_fault(everywhere)
    row = (await installation.instances([one]))[one]
    assert (row["error_code"], row["error_message"].partition("; ")[2]) == (
        "PROVIDER_OUT_OF_STOCK", "zones tried: local, sim-b",
    )  # fmt: skip
    assert one not in await made_outside(installation)
    await installation.terminate(one)
    await installation.until_status([one], "terminated")


@scenario
async def test_a_build_that_fails_is_removed(installation: Installation) -> None:
    [one] = await ordered_under(installation, [Fault("create", "build_error")])
    await installation.until_status([one], "terminated", RIGHT_WITHIN_S)
    assert (await installation.instances([one]))[one]["error_code"] == "PROVIDER_START_FAILED"
    await verify(installation, [one])


@scenario
async def test_ovh_956_create_over_10min(installation: Installation) -> None:
    """Scaled: a build that outlasts one watch of the machine. The watch begins anew; the order is not given up."""
    await installation.fault("create", "slow_build", delay_s=8, count=2)
    made = await installation.deploy("mock", 2)
    await installation.until_status(made, "ready", RIGHT_WITHIN_S)
    await verify(installation, made)
    await installation.terminate(*made)
    await installation.until_status(made, "terminated")
    await verify(installation, made)


@scenario
async def test_sky_4443_eventual_consistency(installation: Installation) -> None:
    """New machines are not shown for a while, neither in lists nor by id. Ended meanwhile, none of them stays."""
    await installation.fault("create", "describe_lag", lag_s=4)
    made = await installation.deploy("mock", 6)
    async with asyncio.timeout(scoreboard.patience_s(10)):
        while set(made) - (await made_outside(installation)).keys():
            await asyncio.sleep(0.05)
    await installation.terminate(*made[:3])
    await installation.until_status(made[3:], "ready", RIGHT_WITHIN_S)
    await installation.until_status(made[:3], "terminated", RIGHT_WITHIN_S)
    await verify(installation, made)
    await installation.terminate(*made[3:])
    await installation.until_status(made, "terminated")
    await verify(installation, made)


@scenario
async def test_scw_4676_volumes_left(installation: Installation) -> None:
    """A deletion that leaves volumes behind, and volumes whose own deletion fails: all gone before it counts as ended."""
    made = await installation.ready("mock", 3, instance_type="sim-l4-1-24g")
    await installation.fault("delete", "volume_left_behind", count=3)
    await installation.fault("volumes", "ignored", count=1)
    await installation.fault("volumes", "error_after", count=1)
    await installation.terminate(*made)
    await installation.until_status(made, "terminated", RIGHT_WITHIN_S)
    await verify(installation, made)
    ledger = (await installation.cloud.get("/sim/ledger")).json()
    assert {one["made_for"] for one in ledger["volumes"]}, "the type has a boot volume"
    open_bills = await installation.rows(
        "SELECT 1 FROM billing_segments WHERE instance_id = ANY(%s) AND closed_at IS NULL", made
    )
    assert open_bills == []
    volume_bills = await installation.rows(
        "SELECT 1 FROM billing_segments WHERE instance_id = ANY(%s) AND usage_kind = 'volume'", made
    )
    assert len(volume_bills) == len(made)


@scenario
async def test_machines_taken_back_and_agents_that_die(installation: Installation) -> None:
    """A preempted machine ends its instance and its bill at the cloud's own moment; a dead agent is started again."""
    taken, sick = await installation.ready("mock", 2, instance_type="sim-l4-1-24g")
    [killed] = await installation.ready("local")
    await installation.worker.stop()
    await installation.worker.start(QUARTERDECK_WORKER_STALE_SECONDS="10", QUARTERDECK_UNAVAILABLE_WAIT_S="0.5")
    machines = {one: row["provider_instance_id"] for one, row in (await installation.instances([taken, sick])).items()}
    assert (await installation.cloud.post(f"/sim/instances/{machines[taken]}/preempt")).is_success
    died = await installation.cloud.post(f"/sim/instances/{machines[sick]}/agent", json={"action": "die"})
    assert died.is_success, died.text
    for pid in (await made_outside(installation))[killed].processes:
        psutil.Process(pid).kill()
    await installation.until_status([taken], "terminated", 40.0)
    healed = [sick, killed]
    await installation.until(healed, lambda row: row["status"] == "ready" and row["generation"] == 2, 40.0)
    row = (await installation.instances([taken]))[taken]
    assert (row["deletion_reason"], row["deleted_by_provider"]) == ("provider_deleted", True)
    await verify(installation, [taken, *healed])
    await installation.terminate(*healed)
    await installation.until_status(healed, "terminated")
    await verify(installation, healed)
