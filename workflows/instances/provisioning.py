"""From an accepted order to a running machine. Everything external is found or created; termination compensates."""

from temporalio import workflow

from activities.machines import MachineActivities
from models.base.errors import AppError, NoCapacity, ProviderAuth, ProviderRejected
from models.contracts.instances import ActionNote, CreateMachine, MachineReport, OperationChange
from models.domain.instances.deletion import NOTHING_CREATED, START_FAILED, START_TIMEOUT
from models.domain.instances.progress import Step
from models.domain.instances.state import InstanceStatus
from models.domain.operations import OperationKind, OperationStatus
from models.ports.compute import MachineState
from workflows import options
from workflows.instances import removal
from workflows.instances.owner import Owner, failed

WATCH_S = 300.0
"""One attempt watches a machine start for this long; a provider that needs longer is watched again."""


async def provision(owner: Owner) -> None:
    """One pass; the loop comes back until the status is another."""
    if owner.wants_termination:
        await removal.begin(owner)
        return
    if owner.row.provider_instance_id is None and not await _create(owner):
        return
    await _await_running(owner)


async def _create(owner: Owner) -> bool:
    frozen = await owner.freeze_spec()
    if not frozen.applied:
        return False
    started_at = workflow.now()
    request = CreateMachine(
        spec=owner.spec, generation=owner.row.generation, fresh=frozen.fresh, run_id=workflow.info().run_id
    )
    await owner.project(
        waiting="the provider to create the machine",
        operations=[OperationChange(kind=OperationKind.INSTANCE_PROVISION, status=OperationStatus.RUNNING)],
        actions=[ActionNote(action_type="EXECUTE_CREATE")],
    )
    try:
        machine = await owner.on_provider(
            MachineActivities.create_machine,
            request,
            options.provider_create(remaining_s(owner)),
            summary="create the machine",
        )
    except AppError as error:
        await _create_failed(owner, error)
        return False
    details = {"provider_instance_id": machine.provider_instance_id, "zone": machine.zone}
    return await owner.project(
        waiting="the machine to run",
        machine=machine,
        steps=[Step.PROVIDER_CREATE],
        actions=[
            ActionNote(action_type="PROVIDER_CREATE", started_at=started_at, details=details),
            ActionNote(action_type="PERSIST_PROVIDER_ID", details=details),
        ],
    )


async def _create_failed(owner: Owner, error: AppError) -> None:
    """`failed`, with the code that says why. Whether something was made all the same is `idle`'s business."""
    match error:
        case NoCapacity():
            code = "PROVIDER_OUT_OF_STOCK"
        case ProviderAuth():
            code = "MISSING_PROVIDER_CREDENTIALS"
        case _:
            code = "PROVIDER_CREATE_FAILED"
    is_refusal = isinstance(error, NoCapacity | ProviderRejected)
    is_conclusive = is_refusal and error.details.get("first_attempt") is True
    await owner.project(
        status=InstanceStatus.FAILED,
        reason=code,
        error_code=code,
        error_message=error.message,
        deletion_reason=NOTHING_CREATED if is_conclusive else None,
        operations=[failed(OperationKind.INSTANCE_PROVISION, code, error.message)],
        actions=[ActionNote(action_type="PROVIDER_CREATE", failed=True, error_code=code, error_message=error.message)],
    )


async def _await_running(owner: Owner) -> None:
    while (left_s := remaining_s(owner)) > 0:
        ref = owner.machine_ref(timeout_s=max(min(left_s, WATCH_S), 1.0))
        try:
            report = await owner.on_provider(
                MachineActivities.await_machine,
                ref,
                options.await_machine(left_s),
                summary="wait until the machine runs",
            )
        except AppError as error:
            await owner.wait_for_provider(error)
            await owner.wait_for_news(options.PROVIDER_PAUSE_S)
            return
        machine = report.machine
        if machine is None or machine.state in (MachineState.FAILED, MachineState.PREEMPTED):
            why = "the machine does not exist any more" if machine is None else machine.error or machine.state.value
            await _start_failed(owner, "PROVIDER_START_FAILED", why, START_FAILED)
            return
        if machine.state is MachineState.RUNNING and machine.host is not None:
            await _running(owner, report)
            return
    why = "the machine did not run within the startup time"
    await _start_failed(owner, "PROVIDER_START_TIMEOUT", why, START_TIMEOUT)


def remaining_s(owner: Owner) -> float:
    """What is left of the startup time, counted from the first create attempt; an owner that took over gets no more."""
    began_at = owner.row.create_attempted_at or workflow.now()
    return (began_at + options.seconds(owner.row.startup_timeout_s) - workflow.now()).total_seconds()


async def _running(owner: Owner, report: MachineReport) -> None:
    await owner.project(
        status=InstanceStatus.BOOTING,
        reason="the machine runs",
        machine=report.machine,
        volumes=report.volumes,
        steps=[Step.PROVIDER_START, Step.PROVIDER_GET_IP],
        waiting="the node agent to register",
        actions=[
            ActionNote(action_type="PROVIDER_START"),
            ActionNote(action_type="PROVIDER_GET_IP"),
            ActionNote(action_type="INSTANCE_CREATED"),
        ],
    )


async def _start_failed(owner: Owner, code: str, why: str, deletion_reason: str) -> None:
    """The machine is billed and useless: remove it, and keep the reason on the row."""
    await owner.project(
        status=InstanceStatus.TERMINATING,
        reason=code,
        error_code=code,
        error_message=why,
        deletion_reason=deletion_reason,
        waiting="the provider to delete the machine",
        operations=[failed(OperationKind.INSTANCE_PROVISION, code, why)],
        actions=[ActionNote(action_type="PROVIDER_START", failed=True, error_code=code, error_message=why)],
    )
