"""The end of an instance: drain, delete, verify, close the ledger. Never given up (DESIGN rule 5)."""

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.fleet.instances import InstanceActivities
from activities.fleet.machines import MachineActivities
from activities.runtime.failures import unwrap
from models.contracts.fleet.instances import AwaitDrained, Removal, RemoveMachine
from models.contracts.operations import ActionNote, OperationChange, Waiting
from models.contracts.task_queues import TaskQueue
from models.domain.fleet.instances.deletion import PROVIDER_DELETED, USER_REQUEST
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.fleet.operations import OperationKind
from models.domain.fleet.waits import FleetWait
from models.domain.holds import HoldCode, refused_by_provider
from models.domain.operations import OperationStatus
from models.domain.sentences import said_of_hold
from workflows import options
from workflows.fleet.instances.owner import InstanceOwner
from workflows.lib.changes import failed

FOR_THE_PROVIDER = FleetWait.MACHINE_DELETED
BOOT_OPERATIONS = (OperationKind.INSTANCE_PROVISION, OperationKind.INSTANCE_REINSTALL)


async def begin(owner: InstanceOwner, *, deletion_reason: str = USER_REQUEST) -> None:
    """Stop what is under way. A ready instance drains first; anything else is removed at once."""
    is_serving = owner.row.status is InstanceStatus.READY
    owner.state.removal_rounds, owner.state.is_alarm_raised = 0, False
    await owner.project(
        status=InstanceStatus.DRAINING if is_serving else InstanceStatus.TERMINATING,
        reason=deletion_reason,
        deletion_reason=deletion_reason,
        waiting=FleetWait.REQUESTS_IN_FLIGHT if is_serving else FOR_THE_PROVIDER,
        operations=[
            OperationChange(kind=OperationKind.INSTANCE_TERMINATE, status=OperationStatus.RUNNING),
            *(OperationChange(kind=kind, status=OperationStatus.CANCELLED) for kind in BOOT_OPERATIONS),
        ],
        actions=[ActionNote(action_type="EXECUTE_TERMINATE")],
    )


async def provider_deleted(owner: InstanceOwner) -> None:
    """The provider took the machine away. What else it may have left is removed and verified like any other."""
    await owner.project(
        status=InstanceStatus.TERMINATING,
        reason=PROVIDER_DELETED,
        deletion_reason=PROVIDER_DELETED,
        deleted_by_provider=True,
        waiting=FleetWait.NOTHING_LEFT,
        operations=[failed(kind, "PROVIDER_DELETED", "the provider took the machine away") for kind in BOOT_OPERATIONS],
        actions=[ActionNote(action_type="PROVIDER_DELETED_DETECTED", failed=True)],
    )


async def drain(owner: InstanceOwner) -> None:
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
        waiting=FOR_THE_PROVIDER,
    )


async def remove(owner: InstanceOwner) -> None:
    """One round of removal; the loop comes back until everything is verified to be gone."""
    started_at = owner.moments.now()
    removal = await _round(owner)
    if await _put_on_record(owner, removal):
        return
    if not removal.is_gone:
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


async def remove_leftovers(owner: InstanceOwner) -> bool:
    """After a create whose outcome is not known: whatever it made goes. True once verified; False when interrupted."""
    while not owner.wants_termination and not owner.is_renewal_due:
        removal = await _round(owner)
        if await _put_on_record(owner, removal):
            continue
        if removal.is_gone:
            owner.holding.end()
            await owner.project(found=removal.found, volumes=removal.volumes, ended=removal.ended)
            owner.state.leftovers_removed = True
            return True
        owner.state.removal_rounds += 1
        code, why = _unfinished(removal)
        is_news = owner.state.removal_rounds == 1
        await _report(owner, removal, code, why, is_news=is_news)
        await owner.wait_for_news(options.removal_pause_s(owner.state.removal_rounds))
    return False


async def _put_on_record(owner: InstanceOwner, removal: Removal) -> bool:
    """True for a round that only found something, the first time; later such a round is followed by a pause like any other."""
    if not removal.is_for_the_record or owner.state.has_put_on_record:
        return False
    owner.state.has_put_on_record = True
    await owner.project(waiting=FOR_THE_PROVIDER, found=removal.found, volumes=removal.volumes)
    return True


async def _round(owner: InstanceOwner) -> Removal:
    if owner.row.machine_spec is None:
        return Removal(machines_left=0, volumes_left=0)
    owner.state.removal_began_at = owner.state.removal_began_at or workflow.now()
    was_sent = owner.row.create_attempted_at is not None and not owner.row.is_nothing_created
    request = RemoveMachine(
        installation_id=owner.spec.installation_id,
        instance_id=owner.key.instance_id,
        zone=owner.spec.zone,
        other_zones=owner.row.zones_tried,
        provider_instance_id=owner.row.provider_instance_id,
        silent_since=owner.state.removal_began_at if was_sent else None,
        silent_s=(workflow.now() - owner.state.removal_began_at).total_seconds(),
        recorded=owner.row.billed_machines,
        recorded_volumes=owner.row.known_volumes,
        doomed_volumes=owner.row.doomed_volumes,
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
        return Removal(
            machines_left=1, volumes_left=0, error_code=error.code, error_message=error.message, is_unseen=True
        )


async def _pending(owner: InstanceOwner, removal: Removal) -> None:
    """Say what is still there and why, and come back after a pause."""
    owner.state.removal_rounds += 1
    code, why = _unfinished(removal)
    is_news = owner.row.error_code != code
    await _report(owner, removal, code, why, is_news=is_news, is_error=True)
    await owner.wait_for_news(options.removal_pause_s(owner.state.removal_rounds))


def _unfinished(removal: Removal) -> tuple[str, str]:
    """The code and the sentence for what is left. Nothing is said to exist that was not seen: then the provider's last answer
    is all that is known.
    """
    code = "TERMINATION_PENDING" if removal.machines_left else "VOLUMES_DELETE_PENDING"
    why = (
        f": {said_of_hold(refused_by_provider(removal.error_code))} ({removal.error_code})"
        if removal.error_code
        else ""
    )
    if removal.is_unseen:
        return code, f"whether a machine exists is not known{why}" if why else "a machine may still show up"
    what = "the machine" if removal.machines_left else f"{removal.volumes_left} volume(s)"
    return code, f"{what} still exists at the provider{why}"


def _waiting(removal: Removal) -> Waiting:
    """What the round is to be followed by."""
    code = FleetWait.MACHINE_GONE if removal.machines_left else FleetWait.VOLUMES_GONE
    if removal.is_unseen:
        code = FleetWait.MACHINE_UNKNOWN if removal.error_code else FleetWait.MACHINE_LATE
    named = {"volumes": removal.volumes_left} if code is FleetWait.VOLUMES_GONE else {}
    return Waiting(code=code, params={**named, **({"error_code": removal.error_code} if removal.error_code else {})})


async def _report(
    owner: InstanceOwner, removal: Removal, code: str, why: str, *, is_news: bool, is_error: bool = False
) -> None:
    """What the round found, for the ledger; for people a note where it is news, and one alarm when it takes long.

    `is_error`: the row shows it as its error, too.
    """
    error_code = removal.error_code
    if error_code or not removal.is_unseen:
        owner.holding.note(refused_by_provider(error_code) if error_code else HoldCode.DELETION_PENDING)
    else:
        owner.holding.end_at_provider()
    is_overdue = owner.state.removal_rounds >= options.ALARM_AFTER_ROUNDS and not owner.state.is_alarm_raised
    kinds = [*(["TERMINATION_PENDING"] if is_news else []), *(["ALARM"] if is_overdue else [])]
    is_written = await owner.project(
        waiting=_waiting(removal),
        error_code=code if is_error else None,
        error_message=why if is_error else None,
        found=removal.found,
        volumes=removal.volumes,
        ended=removal.ended,
        actions=[ActionNote(action_type=kind, failed=True, error_code=code, error_message=why) for kind in kinds],
    )
    owner.state.is_alarm_raised = owner.state.is_alarm_raised or (is_overdue and is_written)
