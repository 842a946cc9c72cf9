"""A ready instance, one that fell silent, and one that waits for a person."""

from temporalio import workflow

from models.base.errors import AppError
from models.contracts.instances import ActionNote
from models.domain.instances.deletion import UNAVAILABLE
from models.domain.instances.startup import stage
from models.domain.instances.state import InstanceStatus, OnUnavailable, WorkerStatus
from models.domain.operations import OperationKind
from models.ports.compute import MachineState
from workflows import options
from workflows.instances import removal, restart
from workflows.instances.owner import Owner, failed


async def serve(owner: Owner) -> None:
    """Ready: watch for commands and edges, otherwise sleep."""
    agent = owner.row.liveness
    if owner.wants_termination:
        await removal.begin(owner)
    elif await restart.begin_reinstall(owner):
        return
    elif agent is None or agent.is_stale:
        steady_since = owner.row.ready_at or workflow.now()
        is_relapse = workflow.now() - steady_since < options.STEADY_AFTER
        await owner.project(
            status=InstanceStatus.UNAVAILABLE,
            reason="no heartbeat",
            waiting="a heartbeat",
            heal_attempts=owner.row.heal_attempts if is_relapse else 0,
            actions=[ActionNote(action_type="INSTANCE_UNAVAILABLE", failed=True)],
        )
    elif agent.worker_status is WorkerStatus.STARTING:
        await owner.project(
            status=InstanceStatus.BOOTING, reason="the agent restarted", waiting="the node agent to serve its model"
        )
    else:
        await owner.wait_for_news()


async def heal(owner: Owner) -> None:
    """Unavailable: wait, then act by `on_unavailable`; three tries (contract decision 13)."""
    if owner.wants_termination:
        await removal.begin(owner)
        return
    if await restart.begin_reinstall(owner) or await _came_back(owner):
        return
    if await owner.wait_for_news(owner.row.unavailable_wait_s):
        return
    await owner.load()
    if owner.wants_termination or await _came_back(owner):
        return
    if owner.row.heal_attempts >= options.HEAL_ATTEMPTS:
        why = f"the agent stayed silent through {options.HEAL_ATTEMPTS} attempts to heal it"
        await owner.project(
            status=InstanceStatus.FAILED,
            reason="HEAL_EXHAUSTED",
            error_code="HEAL_EXHAUSTED",
            error_message=why,
            actions=[ActionNote(action_type="ALARM", failed=True, error_code="HEAL_EXHAUSTED", error_message=why)],
        )
        return
    await _try_once(owner)


async def _came_back(owner: Owner) -> bool:
    agent = owner.row.liveness
    if agent is None or agent.is_stale:
        return False
    status, _steps = stage(agent.phase, agent.worker_status)
    if status is InstanceStatus.READY and owner.row.has_address:
        note = ActionNote(action_type="INSTANCE_READY")
        return await owner.project(status=status, reason="heartbeats are back", clear_error=True, actions=[note])
    return await owner.project(status=InstanceStatus.BOOTING, reason="the agent is starting again")


async def _try_once(owner: Owner) -> None:
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
            await owner.project(heal_attempts=attempt, waiting="a heartbeat")
        case OnUnavailable.RESTART_AGENT:
            is_running = machine.state is not MachineState.FAILED  # one that was switched off has no agent to restart
            await restart.restart(owner, agent_only=is_running, heal_attempts=attempt)
        case OnUnavailable.REINSTALL:
            await restart.restart(owner, agent_only=False, heal_attempts=attempt)
        case OnUnavailable.TERMINATE:
            await removal.begin(owner, deletion_reason=UNAVAILABLE)


async def idle(owner: Owner) -> None:
    """Failed: remove what a failed create may have left, then wait for a person's terminate or reinstall."""
    if owner.wants_termination:
        await removal.begin(owner)
        return
    if owner.row.provider_instance_id is None:
        if owner.row.open_operation(OperationKind.INSTANCE_REINSTALL):
            why = "there is no machine to reinstall"
            await owner.project(operations=[failed(OperationKind.INSTANCE_REINSTALL, "NO_MACHINE", why)])
            return
        is_clean = owner.leftovers_removed or owner.row.is_nothing_created
        if not is_clean and not await removal.remove_leftovers(owner):
            return
    elif await restart.begin_reinstall(owner) or await _late_start(owner):
        return
    await owner.wait_for_news()


async def _late_start(owner: Owner) -> bool:
    """A heartbeat after the startup time takes the instance back into its boot (contract/fleet.md 3.2)."""
    agent = owner.row.liveness
    is_late = owner.row.status is InstanceStatus.STARTUP_FAILED and owner.row.error_code == "STARTUP_TIMEOUT"
    failed_boot = owner.row.boot_started_at
    if not is_late or agent is None or agent.last_heartbeat_at is None or failed_boot is None:
        return False
    if agent.last_heartbeat_at < failed_boot + options.seconds(owner.row.startup_timeout_s):
        return False
    return await owner.project(
        status=InstanceStatus.BOOTING, reason="a late heartbeat", clear_error=True, waiting="the agent"
    )
