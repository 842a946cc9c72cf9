"""Where a worker's objects are made: those of every family here, a family's own by the family."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from activities.blobs.blobs import Blobs
from activities.blobs.store import blob_store
from activities.outside import outside_client
from activities.runtime.client import connect
from delivery.outbox import OutboxDelivery
from models.settings import Settings, derived
from models.settings.derived import DatabaseRole
from workers.databases import Databases, database_of_family
from workers.dispatcher import Dispatcher
from workers.family import QueueRegistration, WorkerFamily, WorkerObjects
from workers.registry import FAMILIES, OWNER_KINDS, QUEUES, SCHEDULE_KINDS, joined, standing_of
from workers.waking import StandingDelivery

CLOUD_TIMEOUT_S = 30.0
"""Time-out of one call to a provider's API. `activities.fleet.machines.SETTLE_S` counts on it."""


@asynccontextmanager
async def compose(settings: Settings) -> AsyncIterator[WorkerObjects]:
    """The objects, closed at the end. Raises TemporalUnreachable, SettingsError."""
    async with AsyncExitStack() as stack:
        key = derived.installation_key(settings)
        derived.refuse_admin_url(settings)
        url = derived.database_url(settings, DatabaseRole.WORKER)
        databases = Databases.of(settings)
        stack.push_async_callback(databases.close)
        of_families = {
            family.name: database_of_family(settings, family.name, family.connections)
            for family in FAMILIES
            if family.connections is not None
        }
        for database in of_families.values():
            stack.push_async_callback(database.close)
        store = blob_store(settings)
        stack.callback(store.close)
        client = await connect(settings)
        delivery = OutboxDelivery(client, OWNER_KINDS, api_url=derived.public_url(settings))
        waking = StandingDelivery(client, standing_of(QUEUES), delivery)
        http = await stack.enter_async_context(outside_client(CLOUD_TIMEOUT_S))
        yield WorkerObjects(
            settings=settings,
            installation_key=key,
            client=client,
            owner_kinds=OWNER_KINDS,
            schedule_kinds=SCHEDULE_KINDS,
            databases=databases,
            of_families=of_families,
            of_owners={
                kind.resource_kind: databases.of_family(family.name, of_families.get(family.name)).activities
                for family in FAMILIES
                for kind in family.owners
            },
            delivery=delivery,
            dispatcher=Dispatcher(databases.outbox, url, waking),
            blob_store=store,
            blobs=Blobs(store, databases.activities, limit_bytes=settings.blob_limit_bytes),
            http=http,
            sweep_steps=tuple(family.sweep_steps for family in FAMILIES),
        )


def queues(objects: WorkerObjects, names: set[str]) -> list[QueueRegistration]:
    """What is served under those names of `workers.registry.QUEUES`, by queue; when none is named, under all that need no
    credentials.
    """
    return joined(
        serve()
        for family in FAMILIES
        for name, serve in family.compose(_given_to(family, objects)).items()
        if (name in names if names else name not in family.only_by_name)
    )


def _given_to(family: WorkerFamily, objects: WorkerObjects) -> WorkerObjects:
    """Its connections are the family's own, or its share (decision 93), whatever it does with them."""
    databases = objects.databases.of_family(family.name, objects.of_families.get(family.name))
    blobs = Blobs(objects.blob_store, databases.activities, limit_bytes=objects.settings.blob_limit_bytes)
    return replace(objects, databases=databases, blobs=blobs)
