"""The end of an instance: drain, delete, verify, close the ledger. Never given up (DESIGN rule 5)."""

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.instances import InstanceActivities
from activities.machines import MachineActivities
from activities.runtime.failures import unwrap
from models.contracts.instances import (
    ActionNote,
    AwaitDrained,
    OperationChange,
    Removal,
    RemoveMachine,
)
from models.contracts.task_queues import TaskQueue
from models.domain.instances.deletion import PROVIDER_DELETED, USER_REQUEST
from models.domain.instances.state import InstanceStatus
from models.domain.operations import OperationKind, OperationStatus
from workflows import options
from workflows.instances.owner import Owner

BOOT_OPERATIONS = (OperationKind.INSTANCE_PROVISION, OperationKind.INSTANCE_REINSTALL)


async def begin(owner: Owner, *, deletion_reason: str = USER_REQUEST) -> None:
    """Stop what is under way. A ready instance drains first; anything else is removed at once."""
    is_serving = owner.row.status is InstanceStatus.READY
    await owner.project(
        status=InstanceStatus.DRAINING if is_serving else InstanceStatus.TERMINATING,
        reason=deletion_reason,
        deletion_reason=deletion_reason,
        waiting="requests in flight" if is_serving else "the provider to delete the machine",
        operations=[
            OperationChange(kind=OperationKind.INSTANCE_TERMINATE, status=OperationStatus.RUNNING),
            *(OperationChange(kind=kind, status=OperationStatus.CANCELLED) for kind in BOOT_OPERATIONS),
        ],
        actions=[ActionNote(action_type="EXECUTE_TERMINATE")],
    )


async def provider_deleted(owner: Owner) -> None:
    """The provider took the machine away. What else it may have left is removed and verified like any other."""
    await owner.project(
        status=InstanceStatus.TERMINATING,
        reason=PROVIDER_DELETED,
        deletion_reason=PROVIDER_DELETED,
        deleted_by_provider=True,
        waiting="proof that nothing is left",
        operations=[OperationChange(kind=kind, status=OperationStatus.CANCELLED) for kind in BOOT_OPERATIONS],
        actions=[ActionNote(action_type="PROVIDER_DELETED_DETECTED", failed=True)],
    )


async def drain(owner: Owner) -> None:
    """No new requests reach a draining instance; those in flight get their time (contract decision 13)."""
    request = AwaitDrained(key=owner.key, timeout_s=owner.row.drain_timeout_s)
    try:
        drained = await workflow.execute_activity_method(
            InstanceActivities.await_drained,
            request,
            task_queue=TaskQueue.RECORDS,
            summary="wait for requests in flight",
            **options.drain(owner.row.drain_timeout_s),
        )
    except ActivityError:
        drained = False  # nobody could look within the time; a termination does not wait for longer
    await owner.load()
    await owner.project(
        status=InstanceStatus.TERMINATING,
        reason="drained" if drained else "drain time over",
        waiting="the provider to delete the machine",
    )


async def remove(owner: Owner) -> None:
    """One round of removal; the loop comes back until everything is verified to be gone."""
    started_at = workflow.now()
    removal = await _round(owner)
    if removal.machines_left or removal.volumes_left:
        await _pending(owner, removal)
        return
    await owner.project(
        status=InstanceStatus.TERMINATED,
        reason=None,
        found=removal.found,
        volumes=removal.volumes,
        ended=removal.ended,
        clear_error=owner.row.error_code in PENDING_CODES,
        operations=[
            OperationChange(kind=OperationKind.INSTANCE_TERMINATE, status=OperationStatus.SUCCEEDED),
            *(OperationChange(kind=kind, status=OperationStatus.CANCELLED) for kind in BOOT_OPERATIONS),
        ],
        actions=[
            ActionNote(action_type="PROVIDER_TERMINATE", started_at=started_at),
            ActionNote(action_type="TERMINATION_CONFIRMED"),
            ActionNote(action_type="INSTANCE_TERMINATED"),
        ],
    )


PENDING_CODES = frozenset({"VOLUMES_DELETE_PENDING", "TERMINATION_PENDING"})


async def remove_leftovers(owner: Owner) -> bool:
    """After a create whose outcome is not known: whatever it made goes. True once verified; False when interrupted."""
    while not owner.wants_termination and not workflow.info().is_continue_as_new_suggested():
        removal = await _round(owner)
        if not removal.machines_left and not removal.volumes_left:
            await owner.project(found=removal.found, volumes=removal.volumes, ended=removal.ended)
            owner.leftovers_removed = True
            return True
        await owner.project(
            waiting="proof that the failed create left nothing", found=removal.found, ended=removal.ended
        )
        owner.removal_rounds += 1
        await owner.wait_for_news(options.removal_pause_s(owner.removal_rounds))
    return False


async def _round(owner: Owner) -> Removal:
    if owner.row.machine_spec is None:
        return Removal(machines_left=0, volumes_left=0)
    owner.removal_began_at = owner.removal_began_at or workflow.now()
    was_sent = owner.row.create_attempted_at is not None and not owner.row.is_nothing_created
    request = RemoveMachine(
        installation_id=owner.spec.installation_id,
        instance_id=owner.key.instance_id,
        zone=owner.spec.zone,
        provider_instance_id=owner.row.provider_instance_id,
        silent_since=owner.removal_began_at if was_sent else None,
        recorded=owner.row.billed_machines,
    )
    try:
        return await workflow.execute_activity_method(
            MachineActivities.remove_machine,
            request,
            task_queue=owner.row.compute_queue,
            summary="delete the machine and verify that it is gone",
            **options.REMOVAL_ROUND,
        )
    except ActivityError as failure:
        error = unwrap(failure)
        return Removal(machines_left=1, volumes_left=0, error_code=error.code, error_message=error.message)


async def _pending(owner: Owner, removal: Removal) -> None:
    """Say what is still there and why, raise the alarm once it takes long, and come back after a pause."""
    owner.removal_rounds += 1
    code = "TERMINATION_PENDING" if removal.machines_left else "VOLUMES_DELETE_PENDING"
    what = "the machine" if removal.machines_left else f"{removal.volumes_left} volume(s)"
    why = f"{what} still exists at the provider" + (f" ({removal.error_code})" if removal.error_code else "")
    notes = []
    if owner.row.error_code != code:
        notes.append(ActionNote(action_type="TERMINATION_PENDING", failed=True, error_code=code, error_message=why))
    if owner.removal_rounds == options.ALARM_AFTER_ROUNDS:
        notes.append(ActionNote(action_type="ALARM", failed=True, error_code=code, error_message=why))
    await owner.project(
        error_code=code, error_message=why, waiting=why, found=removal.found, ended=removal.ended, actions=notes
    )
    await owner.wait_for_news(options.removal_pause_s(owner.removal_rounds))
