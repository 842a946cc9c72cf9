"""The only list of what runs where, task queue -> workflows and activities, and of which workflow may call which activity."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from temporalio.worker import Interceptor

from activities.instances import InstanceActivities
from activities.machines import MachineActivities
from activities.pending_calls import PendingCallActivities
from activities.runtime.callers import Caller, CallersOnly
from activities.runtime.codec import is_scheduled_run
from activities.samples import SampleActivities
from activities.sweeper import SweeperActivities
from models.contracts.task_queues import TaskQueue
from models.contracts.workflow_ids import SAMPLES, SWEEPER, instance_workflow_id, parse_instance_workflow_id
from workflows.instances import InstanceWorkflow
from workflows.samples import SamplesWorkflow
from workflows.sweeper import SweeperWorkflow

WORKFLOWS: tuple[type, ...] = (InstanceWorkflow, SamplesWorkflow, SweeperWorkflow)

Activity = Callable[..., Any]


def is_owner_of_instance(workflow_id: str) -> bool:
    """Whether it is the id that we give: other spellings of it would be other workflows."""
    instance_id = parse_instance_workflow_id(workflow_id)
    return instance_id is not None and instance_workflow_id(instance_id) == workflow_id


def _alone(expected: str) -> Callable[[str], bool]:
    """The one workflow of that id, or a run of the schedule of that id."""
    return lambda workflow_id: workflow_id == expected or is_scheduled_run(workflow_id, expected)


OWNER_OF_INSTANCE: Final = Caller("Instance", is_owner_of_instance, parse_instance_workflow_id)
CALLED_BY: Final[Mapping[type, Caller]] = {
    InstanceActivities: OWNER_OF_INSTANCE,
    MachineActivities: OWNER_OF_INSTANCE,
    PendingCallActivities: OWNER_OF_INSTANCE,
    SweeperActivities: Caller("Sweeper", _alone(SWEEPER)),
    SampleActivities: Caller("Samples", _alone(SAMPLES)),
}
"""Each class of activities with the workflow whose code calls them; tests/architecture/test_callers.py compares them."""


def activity_names(activities: type) -> list[str]:
    """The names under which the activities of the class are registered."""
    definitions = [getattr(member, "__temporal_activity_definition", None) for member in vars(activities).values()]
    return [definition.name for definition in definitions if definition is not None]


CALLERS: Final[Mapping[str, Caller]] = {
    name: caller for activities, caller in CALLED_BY.items() for name in activity_names(activities)
}


def interceptors() -> list[Interceptor]:
    """Of every worker, beside those of the plugin."""
    return [CallersOnly(CALLERS)]


@dataclass(frozen=True)
class QueueRegistration:
    """What one worker polls for. Activities are bound methods: their dependencies are in them."""

    queue: str
    workflows: Sequence[type] = ()
    activities: Sequence[Activity] = field(default_factory=tuple)


def orchestration(instances: InstanceActivities) -> QueueRegistration:
    """All workflows, with what they call as local activities: short transactions, and a look at a call of their own."""
    return QueueRegistration(
        TaskQueue.ORCHESTRATION,
        WORKFLOWS,
        (
            instances.load_instance,
            instances.freeze_machine_spec,
            instances.project_instance,
            PendingCallActivities().look_at_pending_call,
        ),
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
