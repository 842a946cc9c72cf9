"""A new boot of a machine that stays: asked for by a person, or tried by the owner of a silent one."""

from temporalio import workflow

from activities.machines import MachineActivities
from models.base.errors import AppError, ProviderRejected
from models.contracts.instances import ActionNote, OperationChange, RestartAgent
from models.domain.instances.state import InstanceStatus, OnUnavailable
from models.domain.operations import OperationKind, OperationStatus
from models.ports.compute import MachineState
from workflows import options, patches
from workflows.instances import removal
from workflows.instances.owner import Owner, failed
from workflows.instances.removal import BOOT_OPERATIONS


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
        is_refused = isinstance(error, ProviderRejected) and workflow.patched(patches.LOOK_AFTER_REFUSAL)
        if is_refused and await _is_taken_back(owner):
            await removal.provider_deleted(owner)
            return
        if owner.row.heal_attempts and not owner.row.open_operation(OperationKind.INSTANCE_REINSTALL):
            await silent_again(owner, f"the restart was refused ({error.code})")
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


async def repeat_restart(owner: Owner) -> bool:
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


async def _is_taken_back(owner: Owner) -> bool:
    try:
        machine = await owner.describe()
    except AppError:
        return False  # not known: the refusal stands, and whoever looks next may see more
    return machine is None or machine.state is MachineState.PREEMPTED


async def silent_again(owner: Owner, reason: str) -> None:
    """Back to `heal`, which counts the attempts. Only a new heartbeat can say that the agent lives."""
    await owner.project(status=InstanceStatus.UNAVAILABLE, reason=reason, waiting="a heartbeat", mark_silent=True)
