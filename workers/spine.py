"""What every installation's workers do whatever families there are: deliver what was ordered, miss no owner."""

from collections.abc import Callable, Mapping
from typing import Final

from activities.blobs.sweep import BlobSweep
from activities.runtime.callers import Caller, alone, scheduled
from activities.scheduled_orders import ScheduledOrderActivities
from activities.schedules import ScheduleActivities
from activities.sweeper import SweeperActivities, SweepStep
from delivery.schedules import TemporalSchedules
from models.contracts.rounds import RoundsInput
from models.contracts.schedules import ORDERING, ORDERING_PREFIX, LookAtSchedules
from models.contracts.task_queues import TaskQueue
from models.contracts.workflow_ids import SCHEDULES, SWEEPER
from models.repositories.schedule_rows import ScheduleRows
from models.repositories.sweeper_rows import SweeperRows
from models.settings.checks import retentions_of
from workers.family import QueueRegistration, StandingWorkflow, WorkerFamily, WorkerObjects
from workflows.scheduled_orders import ScheduledOrderWorkflow
from workflows.schedules import SchedulesWorkflow
from workflows.sweeper import SweeperWorkflow

WORKFLOWS: Final = (SweeperWorkflow, SchedulesWorkflow, ScheduledOrderWorkflow)

_SWEEPER: Final = StandingWorkflow(
    id=SWEEPER,
    workflow="Sweeper",
    queue=TaskQueue.ORCHESTRATION,
    surface="fleet",
    start=RoundsInput(is_endless=True),
    summary="silent agents, missing owners, old rows",
    details="Every 10 s: tells owners of agents that went silent, starts owners that are missing, removes what is old. "
    "Terminated, it is started again within half a minute by a worker.",
)

_SCHEDULES: Final = StandingWorkflow(
    id=SCHEDULES,
    workflow="Schedules",
    queue=TaskQueue.ORCHESTRATION,
    surface="fleet",
    start=RoundsInput(is_endless=True),
    summary="schedules, as their rows say",
    details="Every minute, and when a row changes: makes, changes and deletes the schedules that are ours. What "
    "somebody changes in one by hand is undone. Terminated, it is started again within half a minute by a worker.",
    look=LookAtSchedules(),
)


def workflows() -> QueueRegistration:
    return QueueRegistration(TaskQueue.ORCHESTRATION, WORKFLOWS)


def records(sweeper: SweeperActivities) -> QueueRegistration:
    return QueueRegistration(TaskQueue.RECORDS, (), (sweeper.sweep,))


def schedule_records(schedules: ScheduleActivities, orders: ScheduledOrderActivities) -> QueueRegistration:
    return QueueRegistration(TaskQueue.RECORDS, (), (schedules.reconcile_schedules, orders.order_scheduled))


def _sweep_steps(objects: WorkerObjects) -> Mapping[str, SweepStep]:
    blobs = BlobSweep(objects.blob_store, objects.databases.upkeep, grace_s=objects.settings.blob_grace_s)
    return {"blobs_removed": blobs.remove}


def _compose(objects: WorkerObjects) -> Mapping[str, Callable[[], QueueRegistration]]:
    rows = SweeperRows(
        objects.databases.upkeep,
        events_kept_s=objects.settings.event_retention_s,
        events_kept_by_stream=retentions_of(objects.settings.event_retention_by_stream),
    )
    steps = {name: step for family in objects.sweep_steps for name, step in family(objects).items()}
    sweeper = SweeperActivities(rows, objects.client, objects.delivery, objects.owner_kinds, steps)
    kinds, databases = objects.schedule_kinds, objects.databases
    schedules = ScheduleActivities(ScheduleRows(databases.upkeep), rows, TemporalSchedules(objects.client), kinds)
    orders = ScheduledOrderActivities(lambda owner: ScheduleRows(objects.of_owners[owner.resource_kind]), kinds)
    return {
        TaskQueue.ORCHESTRATION: workflows,
        TaskQueue.RECORDS: lambda: records(sweeper).joined(schedule_records(schedules, orders)),
    }


SPINE: Final = WorkerFamily(
    name="spine",
    workflows=WORKFLOWS,
    called_by={
        SweeperActivities: Caller("Sweeper", alone(SWEEPER)),
        ScheduleActivities: Caller("Schedules", alone(SCHEDULES)),
        ScheduledOrderActivities: scheduled(ORDERING, ORDERING_PREFIX),
    },
    connections=None,
    queues=(TaskQueue.ORCHESTRATION, TaskQueue.RECORDS),
    compose=_compose,
    standing=lambda queue: (_SWEEPER, _SCHEDULES) if queue == TaskQueue.ORCHESTRATION else (),
    sweep_steps=_sweep_steps,
    background={"dispatcher": lambda objects: objects.dispatcher.run()},
)
"""On the fleet's queues, where its runs of before the families are."""
