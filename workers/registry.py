"""Everything that runs on a worker, joined from the families: which there are, listing `workers/families` says."""

from collections.abc import Iterable, Mapping
from typing import Final

from temporalio.worker import Interceptor

from activities.runtime.callers import Caller, CallersOnly
from models.base.listing import exported
from models.contracts.owner_kinds import OwnerKinds
from models.contracts.schedules import ScheduleKinds
from workers import families
from workers.family import QueueRegistration, StandingWorkflow, WorkerFamily
from workers.spine import SPINE

FAMILIES: Final = (SPINE, *exported(families, "FAMILY", WorkerFamily))

OWNER_KINDS: Final = OwnerKinds(kind for family in FAMILIES for kind in family.owners)

SCHEDULE_KINDS: Final = ScheduleKinds(kind for family in FAMILIES for kind in family.schedules)

WORKFLOWS: Final = tuple(workflow for family in FAMILIES for workflow in family.workflows)

QUEUES: Final = tuple(dict.fromkeys(name for family in FAMILIES for name in family.queues))
"""What a worker can be told to serve. Told nothing, it serves all that needs no credentials."""

CALLED_BY: Final[Mapping[type, Caller]] = {
    activities: caller for family in FAMILIES for activities, caller in family.called_by.items()
}


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


def standing_of(queues: Iterable[str]) -> list[StandingWorkflow]:
    """What a worker of these queues sees to: each goes with a queue that its family serves."""
    return [one for queue in queues for family in FAMILIES for one in family.standing(queue)]


def joined(registrations: Iterable[QueueRegistration]) -> list[QueueRegistration]:
    """One for each queue, whoever serves something on it."""
    found: dict[str, QueueRegistration] = {}
    for one in registrations:
        found[one.queue] = found[one.queue].joined(one) if one.queue in found else one
    return list(found.values())
