"""From a running machine to a served model: the node agent's reports move the instance on."""

from temporalio import workflow

from activities.machines import MachineActivities
from models.base.errors import AppError
from models.contracts.instances import ActionNote, MachineRef, OperationChange, RestartAgent
from models.domain.instances.progress import Step
from models.domain.instances.startup import stage
from models.domain.instances.state import InstanceStatus, OnUnavailable
from models.domain.operations import OperationKind, OperationStatus
from models.ports.compute import Machine, MachineState
from workflows import options
from workflows.instances import removal
from workflows.instances.owner import Owner
from workflows.instances.provisioning import failed

BOOT_OPERATIONS = (OperationKind.INSTANCE_PROVISION, OperationKind.INSTANCE_REINSTALL)


async def await_ready(owner: Owner) -> None:
    """One pass; the loop comes back until the status is another."""
    if owner.wants_termination:
        await removal.begin(owner)
        return
    if owner.row.open_operation(OperationKind.INSTANCE_REINSTALL) and await begin_reinstall(owner):
        return
    if await _repeat_restart(owner):
        return
    if await _follow_agent(owner):
        return
    await _wait(owner)


async def begin_reinstall(owner: Owner) -> bool:
    """Take up a reinstall that was asked for. False when it is under way already."""
    operation = owner.row.open_operation(OperationKind.INSTANCE_REINSTALL)
    if operation is None or operation.status is OperationStatus.RUNNING:
        return False
    await restart(owner, agent_only=False, operation_begins=True)
    return True


async def restart(
    owner: Owner, *, agent_only: bool, operation_begins: bool = False, heal_attempts: int | None = None
) -> None:
    """A new boot of the machine: new generation and tokens first, then the call, which may be repeated for them."""
    running = OperationChange(kind=OperationKind.INSTANCE_REINSTALL, status=OperationStatus.RUNNING)
    applied = await owner.project(
        status=InstanceStatus.BOOTING,
        reason="restart of the agent" if agent_only else "reinstall",
        begin_boot=True,
        clear_error=True,
        heal_attempts=heal_attempts,
        waiting="the provider to restart the agent" if agent_only else "the provider to reinstall the machine",
        operations=[running] if operation_begins else [],
        actions=[ActionNote(action_type="WORKER_RESTART" if agent_only else "EXECUTE_REINSTALL")],
    )
    if applied:
        await _send_restart(owner, agent_only=agent_only)


async def _send_restart(owner: Owner, *, agent_only: bool) -> None:
    request = RestartAgent(
        spec=owner.spec,
        generation=owner.row.generation,
        provider_instance_id=owner.row.provider_instance_id or "",
        agent_only=agent_only,
    )
    owner.sent_generation = owner.row.generation
    try:
        machine = await owner.on_provider(
            MachineActivities.restart_machine, request, options.PROVIDER_MUTATION, summary="restart the machine's agent"
        )
    except AppError as error:
        if owner.row.heal_attempts and not owner.row.open_operation(OperationKind.INSTANCE_REINSTALL):
            await _silent_again(owner, f"the restart was refused ({error.code})")
            return
        await owner.project(
            status=InstanceStatus.FAILED,
            reason="PROVIDER_REINSTALL_FAILED",
            error_code="PROVIDER_REINSTALL_FAILED",
            error_message=error.message,
            operations=[failed(kind, "PROVIDER_REINSTALL_FAILED", error.message) for kind in BOOT_OPERATIONS],
            actions=[ActionNote(action_type="EXECUTE_REINSTALL", failed=True, error_code=error.code)],
        )
        return
    await owner.project(machine=machine, waiting="the node agent to register")


async def _repeat_restart(owner: Owner) -> bool:
    """A boot that the row began and whose sending is not known is sent, or sent again: its generation makes it the same one.

    Not known to an owner that took over, nor to one whose worker was killed before its decision reached the history: it reads
    the row that its earlier self wrote, and decides anew.
    """
    is_first_boot = owner.spec.machine_key.endswith(f".{owner.row.generation}")
    if is_first_boot or owner.sent_generation == owner.row.generation or owner.row.liveness is not None:
        return False
    is_reinstall = owner.row.open_operation(OperationKind.INSTANCE_REINSTALL) is not None
    await _send_restart(owner, agent_only=not is_reinstall and owner.row.on_unavailable is OnUnavailable.RESTART_AGENT)
    return True


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
    boot = owner.row.boot_started_at or workflow.now()
    deadline = boot + options.seconds(owner.row.startup_timeout_s)
    heard_at = owner.row.liveness.last_heartbeat_at if owner.row.liveness else None
    silent_at = max(heard_at or boot, boot) + options.seconds(owner.row.stale_s)
    now = workflow.now()
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
        await _silent_again(owner, "silent after a restart")
        return
    try:
        machine = await describe(owner)
    except AppError as error:
        await owner.project(waiting=f"the provider to answer ({error.code})")
        return
    if machine is None or machine.state in (MachineState.FAILED, MachineState.PREEMPTED):
        why = (machine.error if machine else None) or "the machine stopped before its agent served the model"
        await _startup_failed(owner, "HEALTH_CHECK_FAILED", why)


async def describe(owner: Owner) -> Machine | None:
    """The machine as its provider shows it; None when it does not exist. Raises AppError while the provider cannot say."""
    ref = MachineRef(
        installation_id=owner.spec.installation_id,
        instance_id=owner.key.instance_id,
        provider_instance_id=owner.row.provider_instance_id or "",
        zone=owner.spec.zone,
    )
    return await owner.on_provider(
        MachineActivities.describe_machine, ref, options.PROVIDER_READ, summary="look at the machine"
    )


async def _silent_again(owner: Owner, reason: str) -> None:
    """Back to `heal`, which counts the attempts. Only a new heartbeat can say that the agent lives."""
    await owner.project(status=InstanceStatus.UNAVAILABLE, reason=reason, waiting="a heartbeat", mark_silent=True)


async def _startup_failed(owner: Owner, code: str, why: str) -> None:
    await owner.project(
        status=InstanceStatus.STARTUP_FAILED,
        reason=code,
        error_code=code,
        error_message=why,
        operations=[failed(kind, code, why) for kind in BOOT_OPERATIONS],
        actions=[ActionNote(action_type="INSTANCE_STARTUP_FAILED", failed=True, error_code=code, error_message=why)],
    )
