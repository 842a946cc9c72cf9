"""The only list of what runs where: task queue -> workflows and activities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from activities.instances import InstanceActivities
from activities.machines import MachineActivities
from activities.samples import SampleActivities
from activities.sweeper import SweeperActivities
from models.contracts.task_queues import TaskQueue
from workflows.instances import InstanceWorkflow
from workflows.samples import SamplesWorkflow
from workflows.sweeper import SweeperWorkflow

WORKFLOWS: tuple[type, ...] = (InstanceWorkflow, SamplesWorkflow, SweeperWorkflow)

Activity = Callable[..., Any]


@dataclass(frozen=True)
class QueueRegistration:
    """What one worker polls for. Activities are bound methods: their dependencies are in them."""

    queue: str
    workflows: Sequence[type] = ()
    activities: Sequence[Activity] = field(default_factory=tuple)


def orchestration(instances: InstanceActivities) -> QueueRegistration:
    """All workflows, with the short transactions that they call as local activities."""
    return QueueRegistration(
        TaskQueue.ORCHESTRATION,
        WORKFLOWS,
        (instances.load_instance, instances.freeze_machine_spec, instances.project_instance),
    )


def records(instances: InstanceActivities, sweeper: SweeperActivities, samples: SampleActivities) -> QueueRegistration:
    """Database work that takes longer than a transaction."""
    return QueueRegistration(TaskQueue.RECORDS, (), (instances.await_drained, sweeper.sweep, samples.keep_samples))


def machines(queue: str, provider: MachineActivities) -> QueueRegistration:
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
        ),
    )
