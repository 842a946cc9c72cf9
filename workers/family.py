"""What a family of features brings to a worker, as one object: the `FAMILY` of its module in `workers/families`."""

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import BaseModel
from temporalio.client import Client

from activities.blobs.blobs import Blobs
from activities.blobs.store import BlobStore
from activities.runtime.callers import Caller
from activities.sweeper import SweepStep
from delivery.outbox import OutboxDelivery
from models.contracts.owner_kinds import OwnerKind, OwnerKinds
from models.contracts.rounds import RoundsInput
from models.contracts.schedules import ScheduleKind, ScheduleKinds
from models.repositories.database import Database
from models.settings import Settings
from workers.databases import Databases
from workers.dispatcher import Dispatcher

Activity = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class WorkerObjects:
    """What every family is given to make its activities of."""

    settings: Settings
    installation_key: bytes = field(repr=False)
    client: Client
    owner_kinds: OwnerKinds
    schedule_kinds: ScheduleKinds = field(default_factory=lambda: ScheduleKinds(()))
    databases: Databases
    of_families: Mapping[str, Database]
    """Those that have connections of their own, which `databases.activities` is for them. For others it is their share of all."""
    of_owners: Mapping[str, Database] = field(default_factory=dict)
    """By the kind of the resource what `databases.activities` is for its family."""
    delivery: OutboxDelivery
    dispatcher: Dispatcher
    blob_store: BlobStore
    blobs: Blobs
    """What is too large for a row."""
    http: httpx.AsyncClient
    """For calls to the outside. One call takes `workers.composition.CLOUD_TIMEOUT_S` at most."""
    sweep_steps: Sequence["SweepSteps"]
    """Of every family."""


SweepSteps = Callable[[WorkerObjects], Mapping[str, SweepStep]]


@dataclass(frozen=True)
class Slots:
    """How much of one queue a process has under way at a time. Each queue has slots of its own, so that a family whose steps hang
    and are tried again takes none of another's.
    """

    workflow_tasks: int = 4
    activities: int = 50
    cached_workflows: int = 50
    """Owners kept in memory; others are replayed when something happens to them. It bounds the process's memory
    (benchmarks/fleet.py).
    """

    def or_more(self, other: "Slots") -> "Slots":
        """The larger of each, for a queue that two share."""
        return Slots(
            max(self.workflow_tasks, other.workflow_tasks),
            max(self.activities, other.activities),
            max(self.cached_workflows, other.cached_workflows),
        )


@dataclass(frozen=True)
class QueueRegistration:
    """What one worker polls for. Activities are bound methods: their dependencies are in them."""

    queue: str
    workflows: Sequence[type] = ()
    activities: Sequence[Activity] = ()
    slots: Slots = Slots()

    def joined(self, other: "QueueRegistration") -> "QueueRegistration":
        """Both on their one queue."""
        return QueueRegistration(
            self.queue,
            (*self.workflows, *other.workflows),
            (*self.activities, *other.activities),
            self.slots.or_more(other.slots),
        )


@dataclass(frozen=True, kw_only=True)
class StandingWorkflow:
    """A workflow that every installation has one of. A worker sees to it that it runs; no request ever does.

    `summary` and `details` (Markdown) are what an operator reads in the Temporal UI.
    """

    id: str
    workflow: str
    queue: str
    surface: str
    start: RoundsInput
    summary: str
    details: str
    provider: str | None = None
    look: BaseModel | None = None
    """With what it is asked for a round, by the signal `look`, by every worker that starts; None: it is not."""


def _no_steps(_objects: WorkerObjects) -> Mapping[str, SweepStep]:
    return {}


def _none(_queue: str) -> Sequence[StandingWorkflow]:
    return ()


@dataclass(frozen=True, kw_only=True)
class WorkerFamily:
    """Everything by which a worker knows the family. `workers.registry` joins those of all families."""

    name: str
    owners: Sequence[OwnerKind] = ()
    workflows: Sequence[type]
    schedules: Sequence[ScheduleKind] = ()
    """What its rows can have done again and again."""
    called_by: Mapping[type, Caller]
    """Each class of activities with the workflow whose code calls them; tests/architecture/test_callers.py compares them."""
    connections: int | None = 3
    """To the database, for its activities alone: what hangs in its tables hangs with these. None: those of the setting."""
    queues: Sequence[str]
    """What a worker can be told to serve of it, by the names of `quarterdeck worker --queues`."""
    only_by_name: Collection[str] = ()
    """Those of them that a worker which was told nothing leaves to others: they need credentials."""
    compose: Callable[[WorkerObjects], Mapping[str, Callable[[], QueueRegistration]]]
    """Makes the family's objects, and says for each of `queues` what is served there: asked only by a worker that serves it."""
    sweep_steps: SweepSteps = _no_steps
    """What every sweep looks for beside missing owners, by the name under which it counts them."""
    standing: Callable[[str], Sequence[StandingWorkflow]] = _none
    """The standing workflows that a worker of this task queue sees to."""
    background: Mapping[str, Callable[[WorkerObjects], Coroutine[object, object, None]]] = field(default_factory=dict)
    """What runs beside the queues, by its name in logs, in each process that serves the family's workflows. It and the process
    end with each other.
    """
