"""Whatever a step raises, wherever it raises it, the owner lives on, nothing is doubled, and a termination takes effect.

Each step of provision, reinstall, healing and terminate raises what no retry helps, or what nobody expected, again and again until
the fault ends; once with the termination asked for meanwhile, once with it asked for afterwards.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import pytest
from temporalio.client import WorkflowExecutionStatus

from models.base.errors import AppError, ProviderAuth, ProviderRejected
from tests.fakes.compute import Fault
from tests.workflow.fleet.instances.world import InstanceWorld

MANY = 10_000
LASTS_S = 0.7
"""The fault, once it has been met."""


def _defect() -> NoReturn:
    raise RuntimeError("a defect of ours")


FAULTS: dict[str, Fault] = {
    "credentials revoked": ProviderAuth("revoked"),
    "refused": ProviderRejected("no"),
    "defect": _defect,
}


async def _deploy(world: InstanceWorld) -> Any:
    return await world.deploy_id()


async def _booting(world: InstanceWorld) -> Any:
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["status"] == "booting")
    return instance_id


async def _ready(world: InstanceWorld) -> Any:
    instance_id = await world.deploy_id()
    await world.become_ready(instance_id)
    world.instance_rows._limits = replace(world.limits(), drain_timeout_s=0.1, unavailable_wait_s=0.1)
    return instance_id


async def _nothing(_world: InstanceWorld, _instance_id: Any) -> None:
    return None


async def _reinstall(world: InstanceWorld, instance_id: Any) -> None:
    await world.command("reinstall", instance_id)


async def _terminate(world: InstanceWorld, instance_id: Any) -> None:
    await world.command("terminate", instance_id)


async def _fall_silent(world: InstanceWorld, instance_id: Any) -> None:
    await world.agent_says(instance_id, "serving", "ready", is_stale=True)


@dataclass(frozen=True)
class Step:
    """`faulty` is the call that raises; `prepare` is done before the fault, `begin` afterwards."""

    faulty: str
    prepare: Callable[[InstanceWorld], Awaitable[Any]]
    begin: Callable[[InstanceWorld, Any], Awaitable[None]]
    is_termination: bool = False


STEPS = {
    "create": Step("create", _deploy, _nothing),
    "find what was made": Step("describe", _deploy, _nothing),
    "reinstall": Step("reinstall", _ready, _reinstall),
    "restart of the agent": Step("restart_agent", _ready, _fall_silent),
    "find what is to go": Step("find", _ready, _terminate, is_termination=True),
    "delete": Step("delete", _ready, _terminate, is_termination=True),
    "find what is to go, while it boots": Step("find", _booting, _terminate, is_termination=True),
    "delete, while it boots": Step("delete", _booting, _terminate, is_termination=True),
}
"""Steps by name. Those prepared by an order have the fault before they begin."""


CASES = [
    pytest.param(step, fault, meanwhile, id=f"{name}, {kind}, ended {'meanwhile' if meanwhile else 'afterwards'}")
    for name, step in STEPS.items()
    for kind, fault in FAULTS.items()
    for meanwhile in ((True,) if step.is_termination else (True, False))
]


@pytest.mark.parametrize(("step", "fault", "meanwhile"), CASES)
async def test_a_step_that_raises(real_time_world: InstanceWorld, step: Step, fault: Fault, meanwhile: bool) -> None:
    world = real_time_world
    faults: list[Fault] = [_again(fault) for _ in range(MANY)]
    if step.prepare is _deploy:
        world.compute.script[step.faulty] = faults
    instance_id = await step.prepare(world)
    before = world.compute.calls.count(step.faulty)
    world.compute.script[step.faulty] = faults
    await step.begin(world, instance_id)
    await world.until_called(step.faulty, max(before, 1) if step.prepare is _deploy else before + 1)
    if meanwhile and not step.is_termination:
        await world.command("terminate", instance_id)
    await asyncio.sleep(LASTS_S)
    if not (meanwhile and step.faulty not in ("find", "delete")):
        description = await world.handle(instance_id).describe()
        assert description.status is WorkflowExecutionStatus.RUNNING, "the owner does not end before its instance"
    world.compute.script.clear()
    if not meanwhile:
        await world.command("terminate", instance_id)
    await world.ended(instance_id)
    assert not world.compute.live, "nothing is left that is billed"
    assert world.compute.created <= 1, "nothing was made twice"
    open_bills = await world.rows("SELECT 1 FROM billing_segments WHERE closed_at IS NULL")
    assert not open_bills
    assert set((await world.operations(instance_id)).values()) <= {"succeeded", "failed", "cancelled"}


def _again(fault: Fault) -> Fault:
    """Errors are raised once each: they carry the trace of where they were."""
    return type(fault)(fault.message) if isinstance(fault, AppError) else fault


@pytest.mark.parametrize("transaction", ["load", "freeze_spec", "apply"])
@pytest.mark.parametrize(
    "raised", [RuntimeError("a defect of ours"), ProviderRejected("no")], ids=["defect", "refused"]
)
async def test_a_transaction_that_raises(world: InstanceWorld, transaction: str, raised: Exception) -> None:
    whole, left = getattr(world.instance_rows, transaction), [raised] * 3

    async def broken(*arguments: Any) -> Any:
        if left:
            raise left.pop()
        return await whole(*arguments)

    setattr(world.instance_rows, transaction, broken)
    instance_id = await world.deploy_id()
    await world.until(instance_id, lambda row: row["status"] == "booting", skipping_s=15)
    assert not left
    await world.command("terminate", instance_id)
    await world.ended(instance_id, skipping_s=15)
    assert not world.compute.live
    assert world.compute.created == 1
