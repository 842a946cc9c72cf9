"""Where a worker's objects are made and joined: the only place that knows every class."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx
from temporalio.client import Client

from activities.instances import InstanceActivities
from activities.machines import MachineActivities
from activities.runtime.client import connect
from activities.runtime.delivery import OutboxDelivery
from activities.samples import SampleActivities
from activities.sweeper import SweeperActivities
from models.domain.placement.offers import LOCAL, MOCK
from models.ports.compute import ComputePort
from models.repositories.database import Database
from models.repositories.instance_projection import OwnerLimits
from models.repositories.instance_rows import InstanceRows
from models.repositories.samples import SampleUpkeep
from models.repositories.sweeper_rows import SweeperRows
from models.settings import Settings, derived
from models.settings.derived import DatabaseRole
from workers import registry
from workers.dispatcher import Dispatcher
from workers.registry import QueueRegistration

ORCHESTRATION, RECORDS = "orchestration", "records"
QUEUES = (ORCHESTRATION, RECORDS, MOCK, LOCAL)
"""What a worker can be told to serve, and serves all of when it is told nothing: these need no credentials."""

CLOUD_TIMEOUT_S = 30.0
"""Time-out of one call to a provider's API. `activities.machines.SETTLE_S` counts on it."""


@dataclass
class WorkerObjects:
    """Everything that one worker process is made of."""

    client: Client
    database: Database
    dispatcher: Dispatcher
    instances: InstanceActivities
    sweeper: SweeperActivities
    samples: SampleActivities
    machines: Callable[[ComputePort], MachineActivities]
    http: httpx.AsyncClient


@asynccontextmanager
async def compose(settings: Settings) -> AsyncIterator[WorkerObjects]:
    """The objects, closed at the end. Raises TemporalUnreachable, SettingsError."""
    async with AsyncExitStack() as stack:
        key = derived.installation_key(settings)
        derived.refuse_admin_url(settings)
        url = derived.database_url(settings, DatabaseRole.WORKER)
        database = Database(url, pool_size=settings.database_pool_size, application_name="quarterdeck worker")
        stack.push_async_callback(database.close)
        client = await connect(settings)
        delivery = OutboxDelivery(client, api_url=derived.public_url(settings))
        rows = InstanceRows(database, owner_limits(settings, key), heartbeat_interval_s=settings.heartbeat_interval_s)
        swept = SweeperRows(database, stale_s=settings.worker_stale_seconds, events_kept_s=settings.event_retention_s)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=CLOUD_TIMEOUT_S))
        yield WorkerObjects(
            client=client,
            database=database,
            dispatcher=Dispatcher(database, url, delivery),
            instances=InstanceActivities(rows),
            sweeper=SweeperActivities(swept, client, delivery),
            samples=SampleActivities(SampleUpkeep(database)),
            machines=lambda compute: MachineActivities(
                compute, rows, installation_key=key, control_plane_url=derived.control_plane_url(settings)
            ),
            http=http,
        )


def owner_limits(settings: Settings, installation_key: bytes) -> OwnerLimits:
    return OwnerLimits(
        startup_timeout_s=settings.worker_instance_startup_timeout_s,
        drain_timeout_s=settings.drain_timeout_s,
        stale_s=settings.worker_stale_seconds,
        unavailable_wait_s=settings.unavailable_wait_s,
        installation_key=installation_key,
    )


def queues(settings: Settings, objects: WorkerObjects, names: set[str]) -> list[QueueRegistration]:
    """The registrations of those `QUEUES` that are named; all of them when none is."""
    makers: dict[str, Callable[[], QueueRegistration]] = {
        ORCHESTRATION: lambda: registry.orchestration(objects.instances),
        RECORDS: lambda: registry.records(objects.instances, objects.sweeper, objects.samples),
        MOCK: lambda: registry.machines("cloud-mock", objects.machines(_mock(settings, objects.http))),
        LOCAL: lambda: registry.machines(f"runner@{settings.runner_zone}", objects.machines(_local(settings))),
    }
    return [make() for name, make in makers.items() if not names or name in names]


def _mock(settings: Settings, http: httpx.AsyncClient) -> ComputePort:
    from activities.adapters.mock import CloudClient, MockCompute  # noqa: PLC0415  (loaded only by who serves the provider)

    client = CloudClient(http, base_url=derived.simcloud_url(settings), token=derived.simcloud_token(settings))
    return MockCompute(client)


def _local(settings: Settings) -> ComputePort:
    from activities.adapters.local import LocalCompute  # noqa: PLC0415  (loaded only by who serves the provider)

    return LocalCompute(derived.instances_dir(settings), models_dir=derived.models_dir(settings))
