"""Toys on a worker."""

from activities.runtime.callers import owner_of
from models.repositories.owned_table import OwnedTable
from tests.toys.activities import ToyActivities
from tests.toys.contracts import TICKING, TOY, Phase, ToySnapshot
from tests.toys.table import Toy
from tests.toys.workflow import ToyWorkflow
from workers.family import QueueRegistration, WorkerFamily, WorkerObjects


def _served(objects: WorkerObjects) -> QueueRegistration:
    table = OwnedTable(objects.databases.activities, TOY, Toy, ToySnapshot, final=[Phase.BROKEN])
    toys = ToyActivities(table, objects.settings.home / "toys.ledger")
    return QueueRegistration(TOY.queue, (ToyWorkflow,), (toys.load_toy, toys.project_toy, toys.work_on_toy))


FAMILY = WorkerFamily(
    name="toys",
    owners=(TOY,),
    workflows=(ToyWorkflow,),
    schedules=(TICKING,),
    called_by={ToyActivities: owner_of(TOY)},
    queues=(TOY.queue,),
    compose=lambda objects: {TOY.queue: lambda: _served(objects)},
)
