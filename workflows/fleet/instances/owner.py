"""What every phase of an instance's life uses: the row as last seen, and the provider that its machine is at."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, Unpack
from uuid import UUID

from temporalio import workflow

from activities.fleet.instances import InstanceActivities
from activities.fleet.machines import MachineActivities
from activities.pending_calls import PendingCallActivities
from models.base.errors import AppError
from models.contracts.fleet.instances import (
    Applied,
    Frozen,
    InstanceInput,
    InstanceKey,
    InstanceSnapshot,
    MachineRef,
    Projection,
)
from models.contracts.operations import Waiting
from models.contracts.pending_calls import CallView, PendingCall
from models.domain.fleet.instances.refusals import INSTANCE_NOT_FOUND
from models.domain.fleet.instances.state import FINAL, DesiredStatus, Edge
from models.domain.fleet.waits import FleetWait
from models.domain.holds import refused_by_provider
from models.ports.compute import Machine, MachineSpec
from workflows import options, patches
from workflows.fleet.instances.changes import Change
from workflows.lib.owner import Owner

A = TypeVar("A")
R = TypeVar("R")


class InstanceOwner(Owner[InstanceSnapshot, InstanceInput]):
    """The working memory of one instance's owner."""

    OVER = FINAL
    NOT_FOUND = INSTANCE_NOT_FOUND

    def __init__(self, start: InstanceInput) -> None:
        super().__init__(start)
        self.key = InstanceKey(instance_id=start.instance_id, organization_id=start.organization_id)
        self.unsent_zone: str | None = None
        """The zone that this run moved the order to, every zone before having refused a first create: nothing was sent there.

        Only of this run: what it has not sent, another one that goes on from the same state may have.
        """
        self._heard = set(start.handled)
        start.handled = []

    async def read_row(self) -> InstanceSnapshot:
        return await workflow.execute_local_activity_method(
            InstanceActivities.load_instance, self.key, **options.RECORD
        )

    async def write_row(self, fields: Mapping[str, Any], call_options: options.LocalActivityOptions) -> Applied:
        projection = Projection(key=self.key, **fields)
        return await workflow.execute_local_activity_method(
            InstanceActivities.project_instance, projection, **call_options
        )

    async def project(self, *, waiting: str | Waiting | None = None, **change: Unpack[Change]) -> bool:
        """Change the row; afterwards `row` is what stands. False when somebody else changed it first: look again."""
        return await self.apply(change, Change, waiting=waiting)

    async def freeze_spec(self) -> Frozen:
        frozen = await workflow.execute_local_activity_method(
            InstanceActivities.freeze_machine_spec, self.key, **options.RECORD
        )
        self.see(frozen.snapshot)
        return frozen

    def hear_command(self, operation_id: UUID | None) -> None:
        if operation_id in self._heard and not workflow.patched(patches.COMMANDS_ARE_HINTS):
            return
        if operation_id is not None:
            self._heard.add(operation_id)
        self.hear()

    def hear_edge(self, edge: Edge) -> None:
        self.state.is_doubted = self.state.is_doubted or edge is Edge.UNHEARD
        self.hear()

    @property
    def wants_termination(self) -> bool:
        return self.row.desired_status is DesiredStatus.TERMINATED

    @property
    def is_call_unwanted(self) -> bool:
        return self.wants_termination

    @property
    def stage(self) -> tuple[object, ...]:
        row = self.row
        return row.status, row.generation, row.provider_instance_id, row.machine_spec is None, row.zone_code

    @property
    def spec(self) -> MachineSpec:
        if self.row.machine_spec is None:
            raise RuntimeError("the spec is frozen before a machine is spoken of")
        return self.row.machine_spec

    async def on_provider(
        self,
        call: Callable[[MachineActivities, A], Awaitable[R]],
        request: A,
        call_options: options.ActivityOptions,
        *,
        summary: str,
    ) -> R:
        """`Owner.call` at the instance's provider; once termination is wanted, only what removes is begun there."""
        return await self.call(call, request, call_options, task_queue=self.row.compute_queue, summary=summary)

    async def look_at_call(self) -> CallView:
        call = PendingCall(instance_id=self.key.instance_id, now=workflow.now())
        return await workflow.execute_local_activity_method(
            PendingCallActivities.look_at_pending_call, call, **options.LOOK_AT_CALL
        )

    async def describe(self) -> Machine | None:
        """The machine as its provider shows it; None when it does not exist. Raises AppError while the provider cannot say."""
        return await self._look(options.PROVIDER_READ)

    async def glance(self) -> Machine | None:
        """The same, for who goes on soon without an answer too. It answers the doubt that led to it."""
        self.state.is_doubted = False
        return await self._look(options.PROVIDER_GLANCE)

    async def _look(self, call_options: options.ActivityOptions) -> Machine | None:
        return await self.on_provider(
            MachineActivities.describe_machine, self.machine_ref(), call_options, summary="look at the machine"
        )

    def machine_ref(self, *, timeout_s: float = 0.0) -> MachineRef:
        return MachineRef(
            installation_id=self.spec.installation_id,
            instance_id=self.key.instance_id,
            provider_instance_id=self.row.provider_instance_id or "",
            zone=self.spec.zone,
            timeout_s=timeout_s,
        )

    async def wait_for_provider(self, error: AppError) -> None:
        """The row says that the provider refuses to answer, and since when."""
        self.holding.note(refused_by_provider(error.code))
        await self.project(waiting=Waiting(code=FleetWait.PROVIDER_ANSWERS, params={"error_code": error.code}))
