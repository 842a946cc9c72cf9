"""An instance's owner with everything around it real but the provider: database, Temporal server, activities, row."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.fleet.instances import InstanceActivities
from activities.fleet.machines import MachineActivities
from activities.fleet.reconcile import ListingActivities, ReconcileActivities
from activities.fleet.samples import SampleActivities
from activities.runtime.runs import know_runs
from activities.sweeper import SweeperActivities
from delivery.outbox import OutboxDelivery
from models.base.clock import utc_now
from models.contracts.fleet.instances import InstanceKey, InstanceSnapshot, Observed
from models.contracts.fleet.owner_kinds import OWNER_KINDS
from models.contracts.outbox import OutboxMessage
from models.contracts.owner_kinds import OwnerKinds
from models.contracts.search_attributes import ALL
from models.domain.fleet.instances.state import Edge, OnUnavailable
from models.domain.fleet.placement.decision import Wish
from models.domain.identity.principal import Principal
from models.repositories.database import Database
from models.repositories.fleet import deployments
from models.repositories.fleet.deployments import Order
from models.repositories.fleet.instances import commands as instance_commands
from models.repositories.fleet.instances.commands import Commanded
from models.repositories.fleet.instances.projection import OwnerLimits
from models.repositories.fleet.instances.rows import InstanceRows
from models.repositories.fleet.samples import SampleUpkeep
from models.repositories.fleet.silent_agents import SilentAgents
from models.repositories.fleet.unowned_machines import UnownedMachines
from models.repositories.sweeper_rows import SweeperRows
from tests.factories.founded import founded
from tests.fakes.compute import FakeCompute
from tests.patience import GIVE_UP_S
from tests.replay.recording import keep_history
from tests.servers import TestDatabase
from workers import registry, spine
from workers.families import fleet
from workers.family import QueueRegistration
from workflows.fleet.instances.workflow import InstanceWorkflow

INSTALLATION_KEY = secrets.token_bytes(32)
COMPUTE_QUEUE = "cloud-mock"
API_URL = "http://api.invalid"
LONGEST_SKIP_S = 30.0
"""One call that skips more time may take a busy server longer than its connection lives."""


@dataclass(frozen=True)
class Ordered:
    instance_id: UUID
    message: OutboxMessage


class InstanceWorld:
    def __init__(
        self,
        urls: TestDatabase,
        environment: WorkflowEnvironment,
        principal: Principal,
        *,
        database: Database,
        api: Database,
        sql: psycopg.AsyncConnection[dict[str, Any]],
    ) -> None:
        self.urls, self.environment, self.principal = urls, environment, principal
        self.database, self.api = database, api
        self._sql = sql
        self.client = environment.client
        self.compute = FakeCompute()
        self.kinds = OwnerKinds(OWNER_KINDS)
        self.delivery = OutboxDelivery(self.client, self.kinds, api_url=API_URL)
        self.deployed: list[UUID] = []

    def limits(self) -> OwnerLimits:
        return OwnerLimits(
            startup_timeout_s=3600.0,
            drain_timeout_s=60.0,
            stale_s=120.0,
            unavailable_wait_s=120.0,
            installation_key=INSTALLATION_KEY,
        )

    async def deploy_id(
        self,
        on_unavailable: OnUnavailable = OnUnavailable.RESTART_AGENT,
        *,
        instance_type: str | None = None,
        zone: str | None = None,
    ) -> UUID:
        return (await self.deploy(on_unavailable, instance_type=instance_type, zone=zone)).instance_id

    async def deploy(
        self,
        on_unavailable: OnUnavailable = OnUnavailable.RESTART_AGENT,
        *,
        deliver: bool = True,
        instance_type: str | None = None,
        zone: str | None = None,
    ) -> Ordered:
        """Order an instance of the mock provider, and deliver the order to its owner."""
        wish = Wish(model_name="mock-echo-model", instance_type_code=instance_type, zone_code=zone)
        order = Order(wish, on_unavailable)
        async with self.api.tenant(self.principal.organization_id) as session:
            placed = await deployments.place(session, self.principal, order)
        assert placed.refusal is None, placed.refusal
        assert placed.message is not None
        if deliver:
            await self.delivery.deliver(placed.message)
        self.deployed.append(placed.instance_id)
        return Ordered(placed.instance_id, placed.message)

    async def until_called(self, name: str, times: int) -> None:
        async with asyncio.timeout(GIVE_UP_S):
            while self.compute.calls.count(name) < times:
                await asyncio.sleep(0.02)

    async def is_closed(self, instance_id: UUID) -> bool:
        return (await self.handle(instance_id).describe()).status is not WorkflowExecutionStatus.RUNNING

    async def keep_history(self, instance_id: UUID, scenario: str) -> None:
        """The owner's history, for the replay tests, when recording is asked for."""
        await keep_history(self.handle(instance_id), scenario, self.client.data_converter.payload_codec)

    async def end(self) -> None:
        """Leave no workflow open: the time-skipping server is shared, and one that waits holds its clock."""
        for instance_id in self.deployed:
            with suppress(RPCError):
                await self.handle(instance_id).terminate("the test is over")

    async def command(self, name: str, instance_id: UUID, *, deliver: bool = True) -> Commanded:
        async with self.api.tenant(self.principal.organization_id) as session:
            commanded: Commanded = await getattr(instance_commands, name)(session, self.principal, instance_id)
        if deliver and commanded.message is not None:
            await self.delivery.deliver(commanded.message)
        return commanded

    def handle(self, instance_id: UUID) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(f"instance/{instance_id}")

    async def agent_says(self, instance_id: UUID, phase: str | None, status: str = "starting", **more: Any) -> None:
        """The agent's last word, as register and heartbeat leave it, and the signal that an edge sends."""
        row = await self.row(instance_id)
        values = {"slots_busy": 0, "queue_depth": 0, "is_stale": False, "boot_id": "boot-1", **more}
        await self._sql.execute(
            """
            INSERT INTO instance_liveness (instance_id, organization_id, generation, boot_id, worker_status, phase,
                slots_busy, queue_depth, is_stale, report, registered_at, last_heartbeat_at)
            VALUES (%(id)s, %(organization)s, %(generation)s, %(boot_id)s, %(status)s, %(phase)s, %(slots_busy)s,
                %(queue_depth)s, %(is_stale)s, '{}', now(), now())
            ON CONFLICT (instance_id) DO UPDATE SET generation = EXCLUDED.generation, boot_id = EXCLUDED.boot_id,
                worker_status = EXCLUDED.worker_status, phase = EXCLUDED.phase, slots_busy = EXCLUDED.slots_busy,
                is_stale = EXCLUDED.is_stale, registered_at = now(), last_heartbeat_at = now()
            """,
            {
                "id": instance_id,
                "organization": self.principal.organization_id,
                "generation": row["generation"],
                "status": status,
                "phase": phase,
                **values,
            },
        )
        observed = Observed(edge=Edge.PHASE, boot_id="boot-1", generation=1)
        await self.handle(instance_id).signal("observed", observed)

    async def become_ready(self, instance_id: UUID) -> None:
        await self.until(instance_id, lambda row: row["status"] == "booting")
        await self.agent_says(instance_id, "serving", "ready")
        await self.until(instance_id, lambda row: row["status"] == "ready")

    async def row(self, instance_id: UUID) -> dict[str, Any]:
        return (await self.rows("SELECT * FROM instances WHERE id = %s", instance_id))[0]

    async def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        return await (await self._sql.execute(statement, values)).fetchall()

    async def until(
        self,
        instance_id: UUID,
        true: Callable[[dict[str, Any]], bool],
        timeout_s: float = GIVE_UP_S,
        *,
        skipping_s: float = 0.0,
    ) -> dict[str, Any]:
        """The row once it is so; `skipping_s` passes on the server's clock between two looks. Raises TimeoutError."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            row = await self.row(instance_id)
            if true(row):
                return row
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"still {row['status']}, waiting on {row['waiting_on']}, {row['error_code']}")
            await (self.skip(skipping_s) if skipping_s else asyncio.sleep(0.02))

    async def skip(self, seconds: float) -> None:
        """So much passes on the server's clock."""
        while seconds > 0:
            await self.environment.sleep(min(seconds, LONGEST_SKIP_S))
            seconds -= LONGEST_SKIP_S

    async def until_read(self, instance_id: UUID, true: Callable[[InstanceSnapshot], bool]) -> None:
        """Until the owner has read a row of which this is so."""
        async with asyncio.timeout(GIVE_UP_S):
            while not true(await self.handle(instance_id).query(InstanceWorkflow.snapshot)):
                await asyncio.sleep(0.02)

    async def ended(self, instance_id: UUID, *, skipping_s: float = 0.0) -> dict[str, Any]:
        """The row of an instance whose owner has ended, after checking that it did so in good order."""
        row = await self.until(instance_id, lambda row: row["status"] == "terminated", skipping_s=skipping_s)
        async with asyncio.timeout(GIVE_UP_S):
            while not await self.is_closed(instance_id):
                await asyncio.sleep(0.02)
        description = await self.handle(instance_id).describe()
        assert description.status is WorkflowExecutionStatus.COMPLETED
        return row

    @asynccontextmanager
    async def beating(self, instance_id: UUID) -> AsyncIterator[None]:
        """The agent goes on saying what it said last."""

        stop = asyncio.Event()

        async def beat() -> None:
            while not stop.is_set():
                await self.execute(
                    "UPDATE instance_liveness SET last_heartbeat_at = now() WHERE instance_id = %s", instance_id
                )
                await asyncio.sleep(0.2)

        task = asyncio.create_task(beat())
        try:
            yield
        finally:
            stop.set()  # not cancelled: in the middle of a statement
            await task

    async def execute(self, statement: str, *values: object) -> None:
        await self._sql.execute(statement, values)

    async def snapshot(self, instance_id: UUID) -> InstanceSnapshot:
        key = InstanceKey(instance_id=instance_id, organization_id=self.principal.organization_id)
        return await InstanceRows(self.database, self.limits(), heartbeat_interval_s=4.0).load(key)

    async def operations(self, instance_id: UUID) -> dict[str, str]:
        found = await self.rows("SELECT kind, status FROM operations WHERE resource_id = %s ORDER BY id", instance_id)
        return {row["kind"]: row["status"] for row in found}

    async def history(self, instance_id: UUID) -> list[str]:
        statement = "SELECT to_status FROM instance_state_history WHERE instance_id = %s ORDER BY version, created_at"
        return [row["to_status"] for row in await self.rows(statement, instance_id)]

    def sweeper(self) -> SweeperActivities:
        silent = SilentAgents(self.database, stale_s=60.0)
        return SweeperActivities(
            SweeperRows(self.database, events_kept_s=3600.0),
            self.client,
            self.delivery,
            self.kinds,
            {"stale": silent.mark_stale, "doubted": silent.doubt_unheard},
        )

    @asynccontextmanager
    async def workers(self) -> AsyncIterator[None]:
        """Workers for the owner, the records and the provider."""
        know_runs(self.client, utc_now())
        self.instance_rows = InstanceRows(self.database, self.limits(), heartbeat_interval_s=4.0)
        instances = InstanceActivities(self.instance_rows)
        machines = MachineActivities(
            self.compute,
            self.instance_rows,
            installation_key=INSTALLATION_KEY,
            control_plane_url="http://127.0.0.1:1",
            settle_s=1.0,
            round_s=0.5,
        )
        unowned = UnownedMachines(self.database)
        samples = SampleActivities(SampleUpkeep(self.database))
        reconcile = ReconcileActivities(self.compute, unowned, confirm_after_s=0.1)
        served = (
            spine.workflows(),
            spine.records(self.sweeper()),
            fleet.orchestration(instances),
            fleet.records(instances, samples, ListingActivities(unowned)),
            fleet.machines(COMPUTE_QUEUE, machines, reconcile),
        )
        async with AsyncExitStack() as stack:
            for registration in registry.joined(served):
                await stack.enter_async_context(self._worker(registration))
            yield

    def _worker(self, registration: QueueRegistration) -> Worker:
        return Worker(
            self.client,
            task_queue=registration.queue,
            workflows=list(registration.workflows),
            activities=list(registration.activities),
            interceptors=registry.interceptors(),
        )


async def _declare_search_attributes(client: Client) -> None:
    """The time-skipping server knows none of its own; declaring one again is refused, which says as much."""
    wanted = {key.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD for key in ALL}
    with suppress(RPCError):
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=wanted)
        )


@asynccontextmanager
async def instance_world(urls: TestDatabase, environment: WorkflowEnvironment) -> AsyncIterator[InstanceWorld]:
    """A seeded database with one organization, and workers that serve it. Commands are given as the API gives them."""
    await _declare_search_attributes(environment.client)
    principal = await founded(urls)
    database, api = Database(urls.worker, pool_size=10), Database(urls.api, pool_size=10)
    try:
        async with await psycopg.AsyncConnection.connect(urls.admin, autocommit=True, row_factory=dict_row) as sql:
            world = InstanceWorld(urls, environment, principal, database=database, api=api, sql=sql)
            async with world.workers():
                try:
                    yield world
                finally:
                    await world.end()
    finally:
        await database.close()
        await api.close()
