"""The fleet: instances from their order to their end, what providers have beside them, the samples of their heartbeats."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from activities.fleet.instances import InstanceActivities
from activities.fleet.machines import MachineActivities
from activities.fleet.providers import provider_of
from activities.fleet.reconcile import ListingActivities, ReconcileActivities
from activities.fleet.samples import SampleActivities
from activities.pending_calls import PendingCallActivities
from activities.runtime.callers import Caller, alone, owner_of
from activities.sweeper import SweepStep
from models.contracts.fleet.owner_kinds import INSTANCE, OWNER_KINDS
from models.contracts.fleet.reconcile import LookNow, ReconcileRounds
from models.contracts.rounds import RoundsInput
from models.contracts.task_queues import TaskQueue, is_provider_queue
from models.contracts.workflow_ids import SAMPLES, parse_reconcile_workflow_id, reconcile_workflow_id
from models.domain.fleet.provider_kind import ProviderKind
from models.domain.fleet.provider_kinds import PROVIDER_KINDS
from models.repositories.fleet.instances.projection import OwnerLimits
from models.repositories.fleet.instances.rows import InstanceRows
from models.repositories.fleet.samples import SampleUpkeep
from models.repositories.fleet.silent_agents import SilentAgents
from models.repositories.fleet.unowned_machines import UnownedMachines
from models.settings import Settings, derived
from workers.family import QueueRegistration, Slots, StandingWorkflow, WorkerFamily, WorkerObjects
from workflows.fleet.instances import InstanceWorkflow
from workflows.fleet.reconcile import ReconcileWorkflow
from workflows.fleet.samples import SamplesWorkflow

SURFACE: Final = INSTANCE.surface

WORKFLOWS: Final = (InstanceWorkflow, ReconcileWorkflow, SamplesWorkflow)

SLOTS: Final = Slots(workflow_tasks=12, activities=200, cached_workflows=300)
"""A task lasts as long as the short transactions in it. Those under way share one processor and one connection pool, and have to
end within `OWNER_TASK_TIMEOUT`: a task that does not is done anew, which makes an overloaded worker slower still.
"""


def is_reconcile_of_provider(workflow_id: str) -> bool:
    return is_provider_queue(parse_reconcile_workflow_id(workflow_id) or "")


_OWNER: Final = owner_of(INSTANCE)
_RECONCILE: Final = Caller("Reconcile", is_reconcile_of_provider)

_SAMPLES: Final = StandingWorkflow(
    id=SAMPLES,
    workflow="Samples",
    queue=TaskQueue.ORCHESTRATION,
    surface=SURFACE,
    start=RoundsInput(is_endless=True),
    summary="upkeep of heartbeat samples",
    details="Every minute: averages the heartbeat samples of the minutes that are over, and drops what is old. "
    "Terminated, it is started again within half a minute by a worker.",
)


def reconciling(provider_queue: str) -> StandingWorkflow:
    """The comparison of the provider whose workers poll this queue. They see to it themselves, as nobody else knows of it."""
    return StandingWorkflow(
        id=reconcile_workflow_id(provider_queue),
        workflow="Reconcile",
        queue=TaskQueue.ORCHESTRATION,
        surface=SURFACE,
        start=ReconcileRounds(is_endless=True, provider_queue=provider_queue),
        summary=f"machines of {provider_queue} without an owner",
        details="Every two minutes: lists what the provider has of this installation, and reports machines that nobody "
        "looks after. None is ever ended by itself. Terminated, it is started again within half a minute by a worker of the "
        "provider.",
        provider=provider_queue,
        look=LookNow(),
    )


def orchestration(instances: InstanceActivities) -> QueueRegistration:
    """The workflows, with what they call as local activities: short transactions, and a look at a call of their own."""
    return QueueRegistration(
        TaskQueue.ORCHESTRATION,
        WORKFLOWS,
        (
            instances.load_instance,
            instances.freeze_machine_spec,
            instances.project_instance,
            PendingCallActivities().look_at_pending_call,
        ),
        SLOTS,
    )


def records(instances: InstanceActivities, samples: SampleActivities, listings: ListingActivities) -> QueueRegistration:
    """Database work that takes longer than a transaction, or is no instance's."""
    activities = (instances.await_drained, samples.keep_samples, listings.note_listing_failed)
    return QueueRegistration(TaskQueue.RECORDS, (), activities, SLOTS)


def machines(queue: str, provider: MachineActivities, reconcile: ReconcileActivities) -> QueueRegistration:
    """One provider: `cloud-<provider>`, or `runner@<host>` for this host."""
    return QueueRegistration(
        queue,
        (),
        (
            provider.create_machine,
            provider.await_machine,
            provider.describe_machine,
            provider.restart_machine,
            provider.remove_machine,
            reconcile.reconcile_machines,
        ),
        SLOTS,
    )


def owner_limits(settings: Settings, installation_key: bytes) -> OwnerLimits:
    return OwnerLimits(
        startup_timeout_s=settings.worker_instance_startup_timeout_s,
        drain_timeout_s=settings.drain_timeout_s,
        stale_s=settings.worker_stale_seconds,
        unavailable_wait_s=settings.unavailable_wait_s,
        installation_key=installation_key,
    )


def _compose(objects: WorkerObjects) -> Mapping[str, Callable[[], QueueRegistration]]:
    settings, key, databases = objects.settings, objects.installation_key, objects.databases
    rows = InstanceRows(
        databases.activities, owner_limits(settings, key), heartbeat_interval_s=settings.heartbeat_interval_s
    )
    instances, unowned = InstanceActivities(rows), UnownedMachines(databases.upkeep)

    def at(kind: ProviderKind) -> QueueRegistration:
        """Everything that is done at one provider, on its queue."""
        compute = provider_of(kind).connect(settings, objects.http)
        control_plane_url = derived.control_plane_url(settings)
        activities = MachineActivities(compute, rows, installation_key=key, control_plane_url=control_plane_url)
        reconcile = ReconcileActivities(compute, unowned)
        return machines(kind.queue(settings.runner_zone), activities, reconcile)

    return {
        TaskQueue.ORCHESTRATION: lambda: orchestration(instances),
        TaskQueue.RECORDS: lambda: records(
            instances, SampleActivities(SampleUpkeep(databases.upkeep)), ListingActivities(unowned)
        ),
        **{kind.code: partial(at, kind) for kind in PROVIDER_KINDS},
    }


def _sweep_steps(objects: WorkerObjects) -> Mapping[str, SweepStep]:
    silent = SilentAgents(objects.databases.upkeep, stale_s=objects.settings.worker_stale_seconds)
    return {"stale": silent.mark_stale, "doubted": silent.doubt_unheard}


def _standing(queue: str) -> Sequence[StandingWorkflow]:
    if is_provider_queue(queue):
        return (reconciling(queue),)
    return (_SAMPLES,) if queue == TaskQueue.ORCHESTRATION else ()


FAMILY: Final = WorkerFamily(
    name="fleet",
    owners=OWNER_KINDS,
    workflows=WORKFLOWS,
    called_by={
        InstanceActivities: _OWNER,
        MachineActivities: _OWNER,
        PendingCallActivities: _OWNER,
        SampleActivities: Caller("Samples", alone(SAMPLES)),
        ReconcileActivities: _RECONCILE,
        ListingActivities: _RECONCILE,
    },
    connections=None,
    queues=(TaskQueue.ORCHESTRATION, TaskQueue.RECORDS, *(kind.code for kind in PROVIDER_KINDS)),
    only_by_name=[kind.code for kind in PROVIDER_KINDS if kind.needs_credentials],
    compose=_compose,
    sweep_steps=_sweep_steps,
    standing=_standing,
)
