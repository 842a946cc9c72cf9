"""A new boot of a machine that stays: asked for by a person, or tried by the owner of a silent one."""

from temporalio import workflow

from activities.fleet.machines import MachineActivities
from models.base.errors import AppError, ProviderRejected
from models.contracts.fleet.instances import BootMachine
from models.contracts.operations import ActionNote, OperationChange
from models.domain.fleet.instances.machines import INSTALLED_GENERATION
from models.domain.fleet.instances.state import InstanceStatus, OnUnavailable
from models.domain.fleet.operations import OperationKind
from models.domain.fleet.waits import FleetWait
from models.domain.operations import OperationStatus
from models.ports.compute import MachineState
from workflows import options, patches
from workflows.fleet.instances import removal
from workflows.fleet.instances.owner import InstanceOwner
from workflows.fleet.instances.removal import BOOT_OPERATIONS
from workflows.lib.changes import failed


async def begin_reinstall(owner: InstanceOwner) -> bool:
    """Take up a reinstall that was asked for. False when it is under way already."""
    operation = owner.row.open_operation(OperationKind.INSTANCE_REINSTALL)
    if operation is None or operation.status is OperationStatus.RUNNING:
        return False
    await boot_again(owner, agent_only=False, operation_begins=True)
    return True


async def boot_again(
    owner: InstanceOwner,
    *,
    agent_only: bool,
    operation_begins: bool = False,
    heal_attempts: int | None = None,
    least_generation: int | None = None,
) -> None:
    """A new boot of the machine: new generation and tokens first, then the call, which may be repeated for them."""
    running = OperationChange(kind=OperationKind.INSTANCE_REINSTALL, status=OperationStatus.RUNNING)
    applied = await owner.project(
        status=InstanceStatus.BOOTING,
        reason="restart of the agent" if agent_only else "reinstall",
        begin_boot=True,
        least_generation=least_generation,
        clear_error=True,
        heal_attempts=heal_attempts,
        waiting=FleetWait.AGENT_RESTARTED if agent_only else FleetWait.MACHINE_REINSTALLED,
        operations=[running] if operation_begins else [],
        actions=[ActionNote(action_type="WORKER_RESTART" if agent_only else "EXECUTE_REINSTALL")],
    )
    if applied:
        await _send_boot(owner, agent_only=agent_only)


async def _send_boot(owner: InstanceOwner, *, agent_only: bool) -> None:
    request = BootMachine(
        spec=owner.spec,
        generation=owner.row.generation,
        provider_instance_id=owner.row.provider_instance_id or "",
        agent_only=agent_only,
    )
    owner.state.sent_generation = owner.row.generation
    try:
        machine = await owner.on_provider(
            MachineActivities.restart_machine, request, options.PROVIDER_MUTATION, summary="restart the machine's agent"
        )
    except AppError as error:
        if _is_overtaken(owner, error) and workflow.patched(patches.BOOTS_OVERTAKE):
            await boot_again(owner, agent_only=agent_only, least_generation=_installed(error) + 1)
            return
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
    await owner.project(machine=machine, waiting=FleetWait.AGENT_REGISTERS)


async def repeat_boot(owner: InstanceOwner) -> bool:
    """A boot that the row began and whose sending is not known is sent, or sent again: its generation makes it the same one.

    Not known to an owner that took over, nor to one whose worker was killed before its decision reached the history: it reads
    the row that its earlier self wrote, and decides anew.
    """
    is_first_boot = owner.spec.machine_key.endswith(f".{owner.row.generation}")
    if is_first_boot or owner.state.sent_generation == owner.row.generation or owner.row.liveness is not None:
        return False
    is_reinstall = owner.row.open_operation(OperationKind.INSTANCE_REINSTALL) is not None
    await _send_boot(owner, agent_only=not is_reinstall and owner.row.on_unavailable is OnUnavailable.RESTART_AGENT)
    return True


def _is_overtaken(owner: InstanceOwner, error: AppError) -> bool:
    """Whether the machine was booted with a later generation than the row's, which is then of a time before that boot."""
    return isinstance(error, ProviderRejected) and _installed(error) > owner.row.generation


def _installed(error: AppError) -> int:
    told = error.details.get(INSTALLED_GENERATION)
    return told if isinstance(told, int) else 0


async def _is_taken_back(owner: InstanceOwner) -> bool:
    try:
        machine = await owner.describe()
    except AppError:
        return False  # not known: the refusal stands, and whoever looks next may see more
    return machine is None or machine.state is MachineState.PREEMPTED


async def silent_again(owner: InstanceOwner, reason: str) -> None:
    """Back to `heal`, which counts the attempts. Only a new heartbeat can say that the agent lives."""
    await owner.project(status=InstanceStatus.UNAVAILABLE, reason=reason, waiting=FleetWait.HEARTBEAT, mark_silent=True)
