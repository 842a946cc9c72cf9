"""A ready instance, one that fell silent, and one that waits for a person."""

from temporalio import workflow

from models.base.errors import AppError
from models.contracts.operations import ActionNote
from models.domain.fleet.instances.deletion import UNAVAILABLE
from models.domain.fleet.instances.startup import stage
from models.domain.fleet.instances.state import AgentStatus, InstanceStatus, OnUnavailable
from models.domain.fleet.operations import OperationKind
from models.domain.fleet.waits import FleetWait
from models.ports.compute import MachineState
from workflows import options, patches
from workflows.fleet.instances import boots, healing, removal
from workflows.fleet.instances.owner import InstanceOwner
from workflows.lib.changes import failed


async def serve(owner: InstanceOwner) -> None:
    """Ready: watch for commands and edges, otherwise sleep."""
    agent = owner.row.liveness
    if owner.wants_termination:
        await removal.begin(owner)
    elif await boots.begin_reinstall(owner):
        return
    elif agent is None or agent.is_stale:
        await _unavailable(owner, "no heartbeat")
    elif owner.state.is_doubted:
        await _look_for_agent(owner)
    elif agent.worker_status is AgentStatus.STARTING:
        await owner.project(status=InstanceStatus.BOOTING, reason="the agent restarted", waiting=FleetWait.MODEL_SERVED)
    else:
        await owner.wait_for_news()


async def _unavailable(owner: InstanceOwner, reason: str, *, mark_silent: bool = False) -> None:
    await owner.project(
        status=InstanceStatus.UNAVAILABLE,
        reason=reason,
        waiting=FleetWait.HEARTBEAT,
        heal_attempts=healing.attempts_of_silence(owner),
        mark_silent=mark_silent,
        actions=[ActionNote(action_type="INSTANCE_UNAVAILABLE", failed=True)],
    )


async def _look_for_agent(owner: InstanceOwner) -> None:
    """One look at a ready machine whose agent has not come back to us. What the provider cannot tell, the stale time will."""
    try:
        machine = await owner.glance()
    except AppError as error:
        workflow.logger.warning("whether an agent that is not heard of runs is not known (%s)", error.code)
        return
    if machine is None or machine.state is MachineState.PREEMPTED:
        await removal.provider_deleted(owner)
    elif machine.is_agent_running is False:
        await _unavailable(owner, "its agent does not run", mark_silent=True)


async def heal(owner: InstanceOwner) -> None:
    """Unavailable: wait, then act by `on_unavailable`; three tries (contract decision 13).

    An agent that is known to be dead is not waited for, the first time after it served.
    """
    if owner.wants_termination:
        await removal.begin(owner)
        return
    if await boots.begin_reinstall(owner) or await _came_back(owner):
        return
    if not await _is_known_dead(owner) and await owner.wait_for_news(owner.row.unavailable_wait_s):
        return
    await owner.load()
    if owner.wants_termination or await _came_back(owner):
        return
    if healing.is_exhausted(owner):
        why = f"the agent stayed silent through {healing.HEAL_ATTEMPTS} attempts to heal it"
        await owner.project(
            status=InstanceStatus.FAILED,
            reason="HEAL_EXHAUSTED",
            error_code="HEAL_EXHAUSTED",
            error_message=why,
            actions=[ActionNote(action_type="ALARM", failed=True, error_code="HEAL_EXHAUSTED", error_message=why)],
        )
        return
    await _try_once(owner)


async def _is_known_dead(owner: InstanceOwner) -> bool:
    """Whether waiting is of no use: the provider knows that nothing of the agent runs, or that there is no machine.

    Only for the first try of a boot that was ready: one that restarting did not help gets its time before the next.
    """
    ready_at, booted_at = owner.row.ready_at, owner.row.boot_started_at
    is_first = ready_at is not None and booted_at is not None and ready_at >= booted_at
    if owner.row.on_unavailable is OnUnavailable.WAIT or not is_first:
        return False
    if not workflow.patched(patches.KNOWN_DEAD_ARE_HEALED_AT_ONCE):
        return False
    try:
        machine = await owner.glance()
    except AppError as error:
        await owner.wait_for_provider(error)
        return False
    return machine is None or machine.state is MachineState.PREEMPTED or machine.is_agent_running is False


async def _came_back(owner: InstanceOwner) -> bool:
    agent = owner.row.liveness
    if agent is None or agent.is_stale:
        return False
    status, _steps = stage(agent.phase, agent.worker_status)
    if status is InstanceStatus.READY and owner.row.has_address:
        note = ActionNote(action_type="INSTANCE_READY")
        return await owner.project(status=status, reason="heartbeats are back", clear_error=True, actions=[note])
    return await owner.project(status=InstanceStatus.BOOTING, reason="the agent is starting again")


async def _try_once(owner: InstanceOwner) -> None:
    attempt = owner.row.heal_attempts + 1
    try:
        machine = await owner.describe()
    except AppError as error:
        await owner.wait_for_provider(error)
        return
    if machine is None or machine.state is MachineState.PREEMPTED:
        await removal.provider_deleted(owner)
        return
    match owner.row.on_unavailable:
        case OnUnavailable.WAIT:
            await owner.project(heal_attempts=attempt, waiting=FleetWait.HEARTBEAT)
        case OnUnavailable.RESTART_AGENT:
            is_running = machine.state is not MachineState.FAILED  # one that was switched off has no agent to restart
            await boots.boot_again(owner, agent_only=is_running, heal_attempts=attempt)
        case OnUnavailable.REINSTALL:
            await boots.boot_again(owner, agent_only=False, heal_attempts=attempt)
        case OnUnavailable.TERMINATE:
            await removal.begin(owner, deletion_reason=UNAVAILABLE)


async def idle(owner: InstanceOwner) -> None:
    """Failed: remove what a failed create may have left, then wait for a person's terminate or reinstall."""
    if owner.wants_termination:
        await removal.begin(owner)
        return
    if owner.row.provider_instance_id is None:
        if owner.row.open_operation(OperationKind.INSTANCE_REINSTALL):
            why = "there is no machine to reinstall"
            await owner.project(operations=[failed(OperationKind.INSTANCE_REINSTALL, "NO_MACHINE", why)])
            return
        is_clean = owner.state.leftovers_removed or owner.row.is_nothing_created
        if not is_clean and not await removal.remove_leftovers(owner):
            return
    elif await boots.begin_reinstall(owner) or await _late_start(owner):
        return
    await owner.wait_for_news()


async def _late_start(owner: InstanceOwner) -> bool:
    """A heartbeat after the startup time takes the instance back into its boot (contract/fleet.md 3.2)."""
    agent = owner.row.liveness
    is_late = owner.row.status is InstanceStatus.STARTUP_FAILED and owner.row.error_code == "STARTUP_TIMEOUT"
    failed_boot = owner.row.boot_started_at
    if not is_late or agent is None or agent.last_heartbeat_at is None or failed_boot is None:
        return False
    if agent.last_heartbeat_at < failed_boot + options.seconds(owner.row.startup_timeout_s):
        return False
    return await owner.project(
        status=InstanceStatus.BOOTING, reason="a late heartbeat", clear_error=True, waiting=FleetWait.AGENT
    )
