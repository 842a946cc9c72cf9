"""From a running machine to a served model: the node agent's reports move the instance on."""

from datetime import datetime

from temporalio import workflow

from activities.machines import MachineActivities
from models.base.errors import AppError
from models.contracts.instances import ActionNote, OperationChange
from models.domain.instances.progress import Step
from models.domain.instances.startup import stage
from models.domain.instances.state import InstanceStatus
from models.domain.operations import OperationKind, OperationStatus
from models.ports.compute import Machine, MachineState
from workflows import options
from workflows.instances import removal, restart
from workflows.instances.owner import Owner, failed
from workflows.instances.removal import BOOT_OPERATIONS

STOPPED = frozenset({MachineState.FAILED, MachineState.PREEMPTED})
ADDRESS_WATCH_S = 30.0
"""One look for the address lasts this long; in between the owner takes up what was asked of it meanwhile."""


async def await_ready(owner: Owner) -> None:
    """One pass; the loop comes back until the status is another."""
    if owner.wants_termination:
        await removal.begin(owner)
        return
    if owner.row.open_operation(OperationKind.INSTANCE_REINSTALL) and await restart.begin_reinstall(owner):
        return
    if await restart.repeat_restart(owner):
        return
    if not owner.row.has_address:
        await _learn_address(owner)
        return
    if await _follow_agent(owner):
        return
    await _wait(owner)


async def _learn_address(owner: Owner) -> None:
    """Where the machine serves since its restart. Nothing is ready before that is known: requests would reach whoever has the
    old port now.
    """
    left_s = _remaining_s(owner)
    watch_s = min(left_s, ADDRESS_WATCH_S, owner.row.stale_s)
    if left_s <= 0:
        await _startup_failed(owner, "STARTUP_TIMEOUT", "the machine told no address within the startup time")
        return
    try:
        report = await owner.on_provider(
            MachineActivities.await_machine,
            owner.machine_ref(timeout_s=watch_s),
            options.await_machine(watch_s),
            summary="wait for the machine's address",
        )
    except AppError as error:
        await owner.wait_for_provider(error)
        await owner.wait_for_news(options.PROVIDER_PAUSE_S)
        return
    machine = report.machine
    if machine is None or machine.state in STOPPED:
        await _stopped(owner, machine)
    elif machine.port is None and owner.row.heal_attempts and workflow.now() >= _silent_at(owner):
        await restart.silent_again(owner, "silent after a restart")
    else:
        await owner.project(machine=machine, waiting="the node agent to register")


async def _follow_agent(owner: Owner) -> bool:
    """Bring the row to what the agent last said. False when it is there already."""
    agent = owner.row.liveness
    if agent is None:
        return False
    status, steps = stage(agent.phase, agent.worker_status)
    new_steps = [step for step in steps if step not in owner.row.completed_steps]
    if status is owner.row.status and not new_steps:
        return False
    if status is InstanceStatus.READY:
        await _ready(owner, new_steps)
        return True
    started_at = owner.row.boot_started_at
    await owner.project(
        status=status,
        reason=f"agent: {agent.phase or 'registered'}",
        steps=new_steps,
        waiting="the node agent to serve its model",
        actions=[ActionNote(action_type=step.value, started_at=started_at) for step in new_steps],
    )
    return True


async def _ready(owner: Owner, new_steps: list[Step]) -> None:
    await owner.project(
        status=InstanceStatus.READY,
        reason="the agent serves its model",
        steps=new_steps,
        clear_error=True,
        operations=[OperationChange(kind=kind, status=OperationStatus.SUCCEEDED) for kind in BOOT_OPERATIONS],
        actions=[
            *(ActionNote(action_type=step.value, started_at=owner.row.boot_started_at) for step in new_steps),
            ActionNote(action_type="INSTANCE_READY", started_at=owner.row.boot_started_at),
        ],
    )


async def _wait(owner: Owner) -> None:
    """Until there is news, the startup time is over, or the agent has been silent for so long that the machine is asked."""
    heard_at = owner.row.liveness.last_heartbeat_at if owner.row.liveness else None
    silent_at, now = _silent_at(owner), workflow.now()
    deadline = now + options.seconds(_remaining_s(owner))
    until = min(deadline, silent_at if silent_at > now else now + options.seconds(owner.row.stale_s))
    if await owner.wait_for_news((until - now).total_seconds()):
        return
    await owner.load()
    if owner.row.liveness and owner.row.liveness.last_heartbeat_at != heard_at:
        return
    if workflow.now() >= deadline:
        await _startup_failed(owner, "STARTUP_TIMEOUT", "the agent did not serve its model within the startup time")
    else:
        await _look_at_silent_machine(owner)


async def _look_at_silent_machine(owner: Owner) -> None:
    if owner.row.heal_attempts:
        await restart.silent_again(owner, "silent after a restart")
        return
    try:
        machine = await owner.describe()
    except AppError as error:
        await owner.wait_for_provider(error)
        return
    if machine is None or machine.state in STOPPED:
        await _stopped(owner, machine)


def _silent_at(owner: Owner) -> datetime:
    """When an agent that says nothing more has been silent for the stale time, in this boot."""
    boot = owner.row.boot_started_at or workflow.now()
    heard_at = owner.row.liveness.last_heartbeat_at if owner.row.liveness else None
    return max(heard_at or boot, boot) + options.seconds(owner.row.stale_s)


def _remaining_s(owner: Owner) -> float:
    """What is left of the startup time of this boot."""
    began_at = owner.row.boot_started_at or workflow.now()
    return (began_at + options.seconds(owner.row.startup_timeout_s) - workflow.now()).total_seconds()


async def _stopped(owner: Owner, machine: Machine | None) -> None:
    """What follows from a machine that is gone, taken back, or there and of no use."""
    if machine is None or machine.state is MachineState.PREEMPTED:
        await removal.provider_deleted(owner)
    elif owner.row.heal_attempts:
        await restart.silent_again(owner, "stopped after a restart")
    else:
        why = machine.error or "the machine stopped before its agent served the model"
        await _startup_failed(owner, "HEALTH_CHECK_FAILED", why)


async def _startup_failed(owner: Owner, code: str, why: str) -> None:
    await owner.project(
        status=InstanceStatus.STARTUP_FAILED,
        reason=code,
        error_code=code,
        error_message=why,
        operations=[failed(kind, code, why) for kind in BOOT_OPERATIONS],
        actions=[ActionNote(action_type="INSTANCE_STARTUP_FAILED", failed=True, error_code=code, error_message=why)],
    )
