"""A second kind of owner, which no family of the product has, and a stand-in for the first: each remembers what it was told."""

from uuid import UUID

from pydantic import BaseModel
from temporalio import workflow

from models.contracts.fleet.instances import InstanceInput, Observed
from models.contracts.fleet.owner_kinds import INSTANCE
from models.contracts.operations import Command, Reread
from models.contracts.outbox import DeliveryKind
from models.contracts.owner_kinds import OwnedRows, OwnerKind, OwnerKinds, Signal


class GadgetInput(BaseModel):
    gadget_id: UUID
    organization_id: UUID


class Turned(BaseModel):
    """Signal: what the gadget sees of the world."""

    angle: int


GADGET = OwnerKind(
    resource_kind="gadget",
    noun="gadget",
    workflow="Gadget",
    id_prefix="gadget/",
    queue="gadgets",
    surface="toys",
    path="/toys/gadgets/{id}",
    start=lambda gadget_id, organization_id: GadgetInput(gadget_id=gadget_id, organization_id=organization_id),
    signals={DeliveryKind.COMMAND: Signal("command", Command), DeliveryKind.OBSERVED: Signal("turned", Turned)},
    operations=frozenset({"gadget.build"}),
    rows=OwnedRows.of_table("gadgets", final=["scrapped"]),
    id_field="gadget_id",
)

BOTH = OwnerKinds([INSTANCE, GADGET])


class _Owner:
    """Until it is terminated."""

    def __init__(self) -> None:
        self._said: list[str] = []

    async def live(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def command(self, command: Command) -> None:
        self._said.append(f"command {command.operation_id}")

    @workflow.signal
    def reread(self, _again: Reread) -> None:
        self._said.append("reread")

    @workflow.query
    def said(self) -> list[str]:
        return self._said


@workflow.defn(name="Gadget")
class GadgetStandIn(_Owner):
    @workflow.run
    async def run(self, start: GadgetInput) -> None:
        self._said.insert(0, f"started for {start.gadget_id}")
        await self.live()

    @workflow.signal
    def turned(self, turned: Turned) -> None:
        self._said.append(f"turned {turned.angle}")


@workflow.defn(name="Instance")
class InstanceStandIn(_Owner):
    @workflow.run
    async def run(self, start: InstanceInput) -> None:
        self._said.insert(0, f"started for {start.instance_id}")
        await self.live()

    @workflow.signal
    def observed(self, observed: Observed) -> None:
        self._said.append(f"observed {observed.edge}")
