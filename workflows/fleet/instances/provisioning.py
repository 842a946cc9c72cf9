"""From an accepted order to a running machine. Everything external is found or created; termination compensates."""

from temporalio import workflow

from activities.fleet.machines import MachineActivities
from models.base.errors import AppError, NoCapacity, ProviderAuth, ProviderRejected
from models.contracts.fleet.instances import CreateMachine, MachineReport
from models.contracts.operations import ActionNote, OperationChange
from models.domain.fleet.instances.deletion import NOTHING_CREATED, START_FAILED, START_TIMEOUT
from models.domain.fleet.instances.progress import Step
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.fleet.operations import OperationKind
from models.domain.fleet.waits import FleetWait
from models.domain.operations import OperationStatus
from models.domain.sentences import said_of_hold
from models.ports.compute import MachineState
from workflows import options, patches
from workflows.fleet.instances import removal
from workflows.fleet.instances.owner import InstanceOwner
from workflows.lib.changes import failed

FOR_THE_PROVIDER = FleetWait.MACHINE_CREATED
OUT_OF_STOCK = "PROVIDER_OUT_OF_STOCK"
WATCH_S = 300.0
"""One attempt watches a machine start for this long; a provider that needs longer is watched again."""


async def provision(owner: InstanceOwner) -> None:
    """One pass; the loop comes back until the status is another."""
    if owner.wants_termination:
        await removal.begin(owner)
        return
    if owner.row.provider_instance_id is None and not await _create(owner):
        return
    await _await_running(owner)


async def _create(owner: InstanceOwner) -> bool:
    frozen = await owner.freeze_spec()
    if not frozen.applied:
        return False
    started_at, spec = owner.moments.now(), owner.spec
    is_unsent = frozen.fresh or owner.unsent_zone == spec.zone
    owner.unsent_zone, owner.state.leftovers_removed = None, False
    request = CreateMachine(spec=spec, generation=owner.row.generation, fresh=is_unsent, run_id=workflow.info().run_id)
    await owner.project(
        waiting=FOR_THE_PROVIDER,
        operations=[OperationChange(kind=OperationKind.INSTANCE_PROVISION, status=OperationStatus.RUNNING)],
        actions=[ActionNote(action_type="EXECUTE_CREATE", details={"zone": spec.zone})],
    )
    try:
        machine = await owner.on_provider(
            MachineActivities.create_machine,
            request,
            options.provider_create(remaining_s(owner)),
            summary="create the machine",
        )
    except AppError as error:
        if not (isinstance(error, NoCapacity) and await _goes_on_elsewhere(owner, error, spec.zone)):
            await _create_failed(owner, error)
        return False
    details = {"provider_instance_id": machine.provider_instance_id, "zone": machine.zone}
    return await owner.project(
        waiting=FleetWait.MACHINE_RUNS,
        machine=machine,
        steps=[Step.PROVIDER_CREATE],
        actions=[
            ActionNote(action_type="PROVIDER_CREATE", started_at=started_at, details=details),
            ActionNote(action_type="PERSIST_PROVIDER_ID", details=details),
        ],
    )


async def _goes_on_elsewhere(owner: InstanceOwner, refusal: NoCapacity, zone: str) -> bool:
    """Move an order that names no zone from one without capacity to the next. False where there is none.

    A refusal of a first create proves that nothing is there. After any other the create in the next zone looks first, for as
    long as the provider may hide what it has made, in all zones: one machine bears the key, wherever it was made.
    """
    if owner.spec.zone != zone:
        return True  # a decision that was lost with its worker has moved the row
    if not owner.row.zones_left:
        return False
    is_moved = await owner.project(
        waiting=FOR_THE_PROVIDER,
        no_capacity_in=zone,
        actions=[_refused_create(OUT_OF_STOCK, refusal.message, zone)],
    )
    if is_moved and refusal.details.get("first_attempt") is True:
        owner.unsent_zone = owner.spec.zone
    return True


async def _create_failed(owner: InstanceOwner, error: AppError) -> None:
    """`failed`, with the code that says why. Whether something was made all the same is `idle`'s business."""
    message = error.message
    match error:
        case NoCapacity():
            code = OUT_OF_STOCK
            if owner.row.zones_tried:
                message = f"{message}; zones tried: {', '.join([*owner.row.zones_tried, owner.spec.zone])}"
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
        error_message=message,
        deletion_reason=NOTHING_CREATED if is_conclusive else None,
        operations=[failed(OperationKind.INSTANCE_PROVISION, code, message)],
        actions=[_refused_create(code, error.message, owner.spec.zone)],
    )


def _refused_create(code: str, why: str, zone: str) -> ActionNote:
    return ActionNote(
        action_type="PROVIDER_CREATE", failed=True, error_code=code, error_message=why, details={"zone": zone}
    )


async def _await_running(owner: InstanceOwner) -> None:
    is_late = remaining_s(owner) <= 0 and workflow.patched(patches.LATE_MACHINES_COUNT)
    while (left_s := remaining_s(owner)) > 0 or is_late:
        is_late = False  # one look: an owner that takes over late may find that it runs
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
    if owner.holding.held is not None:
        why += f": {said_of_hold(owner.holding.held.code)}"
    await _start_failed(owner, "PROVIDER_START_TIMEOUT", why, START_TIMEOUT)


def remaining_s(owner: InstanceOwner) -> float:
    """What is left of the startup time, counted from the first create attempt; an owner that took over gets no more."""
    elapsed = owner.moments.elapsed(owner.row.create_attempted_at)
    return (options.seconds(owner.row.startup_timeout_s) - elapsed).total_seconds()


async def _running(owner: InstanceOwner, report: MachineReport) -> None:
    await owner.project(
        status=InstanceStatus.BOOTING,
        reason="the machine runs",
        machine=report.machine,
        volumes=report.volumes,
        steps=[Step.PROVIDER_START, Step.PROVIDER_GET_IP],
        waiting=FleetWait.AGENT_REGISTERS,
        actions=[
            ActionNote(action_type="PROVIDER_START"),
            ActionNote(action_type="PROVIDER_GET_IP"),
            ActionNote(action_type="INSTANCE_CREATED"),
        ],
    )


async def _start_failed(owner: InstanceOwner, code: str, why: str, deletion_reason: str) -> None:
    """The machine is billed and useless: remove it, and keep the reason on the row."""
    await owner.project(
        status=InstanceStatus.TERMINATING,
        reason=code,
        error_code=code,
        error_message=why,
        deletion_reason=deletion_reason,
        waiting=FleetWait.MACHINE_DELETED,
        operations=[failed(OperationKind.INSTANCE_PROVISION, code, why)],
        actions=[ActionNote(action_type="PROVIDER_START", failed=True, error_code=code, error_message=why)],
    )
