"""From a running machine to a served model: the node agent's reports move the instance on."""

from activities.fleet.machines import MachineActivities
from models.base.errors import AppError
from models.contracts.operations import ActionNote, OperationChange
from models.domain.fleet.instances.progress import Step
from models.domain.fleet.instances.startup import stage
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.fleet.operations import OperationKind
from models.domain.fleet.waits import FleetWait
from models.domain.operations import OperationStatus
from models.ports.compute import Machine, MachineState
from workflows import options
from workflows.fleet.instances import boots, healing, removal
from workflows.fleet.instances.owner import InstanceOwner
from workflows.fleet.instances.removal import BOOT_OPERATIONS
from workflows.lib.changes import failed

STOPPED = frozenset({MachineState.FAILED, MachineState.PREEMPTED})
ADDRESS_WATCH_S = 30.0
"""One look for the address lasts this long; in between the owner takes up what was asked of it meanwhile."""


async def await_ready(owner: InstanceOwner) -> None:
    """One pass; the loop comes back until the status is another."""
    if owner.wants_termination:
        await removal.begin(owner)
        return
    if owner.row.open_operation(OperationKind.INSTANCE_REINSTALL) and await boots.begin_reinstall(owner):
        return
    if await boots.repeat_boot(owner):
        return
    if owner.state.is_doubted:
        await _look_at_silent_machine(owner)
        return
    if not owner.row.has_address:
        await _learn_address(owner)
        return
    if await _follow_agent(owner):
        return
    await _wait(owner)


async def _learn_address(owner: InstanceOwner) -> None:
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
    elif machine.port is None and owner.row.heal_attempts and _silent_in_s(owner) <= 0:
        await boots.silent_again(owner, "silent after a restart")
    else:
        await owner.project(machine=machine, waiting=FleetWait.AGENT_REGISTERS)


async def _follow_agent(owner: InstanceOwner) -> bool:
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
        waiting=FleetWait.MODEL_SERVED,
        actions=[ActionNote(action_type=step.value, started_at=started_at) for step in new_steps],
    )
    return True


async def _ready(owner: InstanceOwner, new_steps: list[Step]) -> None:
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


async def _wait(owner: InstanceOwner) -> None:
    """Until there is news, the startup time is over, or the agent has been silent for so long that the machine is asked."""
    heard_at = owner.row.liveness.last_heartbeat_at if owner.row.liveness else None
    silent_in_s = _silent_in_s(owner)
    if await owner.wait_for_news(
        min(max(_remaining_s(owner), 0.0), silent_in_s if silent_in_s > 0 else owner.row.stale_s)
    ):
        return
    await owner.load()
    if owner.row.liveness and owner.row.liveness.last_heartbeat_at != heard_at:
        return
    if _remaining_s(owner) <= 0:
        await _startup_failed(owner, "STARTUP_TIMEOUT", "the agent did not serve its model within the startup time")
    else:
        await _look_at_silent_machine(owner)


async def _look_at_silent_machine(owner: InstanceOwner) -> None:
    is_doubt = owner.state.is_doubted
    if owner.row.heal_attempts and not is_doubt:
        await boots.silent_again(owner, "silent after a restart")
        return
    try:
        machine = await (owner.glance() if is_doubt else owner.describe())
    except AppError as error:
        await owner.wait_for_provider(error)
        return
    if machine is None or machine.state in STOPPED:
        await _stopped(owner, machine)
    elif machine.is_agent_running is False and not healing.is_exhausted(owner):
        await boots.boot_again(owner, agent_only=True, heal_attempts=owner.row.heal_attempts + 1)


def _silent_in_s(owner: InstanceOwner) -> float:
    """Until an agent that says nothing more has been silent for the stale time, in this boot."""
    heard_at = owner.row.liveness.last_heartbeat_at if owner.row.liveness else None
    known = [moment for moment in (owner.row.boot_started_at, heard_at) if moment is not None]
    silence = owner.moments.elapsed(max(known, default=None))
    return (options.seconds(owner.row.stale_s) - silence).total_seconds()


def _remaining_s(owner: InstanceOwner) -> float:
    """What is left of the startup time of this boot."""
    elapsed = owner.moments.elapsed(owner.row.boot_started_at)
    return (options.seconds(owner.row.startup_timeout_s) - elapsed).total_seconds()


async def _stopped(owner: InstanceOwner, machine: Machine | None) -> None:
    """What follows from a machine that is gone, taken back, or there and of no use."""
    if machine is None or machine.state is MachineState.PREEMPTED:
        await removal.provider_deleted(owner)
    elif owner.row.heal_attempts:
        await boots.silent_again(owner, "stopped after a restart")
    else:
        why = machine.error or "the machine stopped before its agent served the model"
        await _startup_failed(owner, "HEALTH_CHECK_FAILED", why)


async def _startup_failed(owner: InstanceOwner, code: str, why: str) -> None:
    await owner.project(
        status=InstanceStatus.STARTUP_FAILED,
        reason=code,
        error_code=code,
        error_message=why,
        operations=[failed(kind, code, why) for kind in BOOT_OPERATIONS],
        actions=[ActionNote(action_type="INSTANCE_STARTUP_FAILED", failed=True, error_code=code, error_message=why)],
    )
