"""A lamp that is lit, burns and is put out: the smallest owner on `workflows/lib`. Its rows are in memory, all else is real."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Unpack
from uuid import UUID, uuid4

from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from models.base.errors import AppError, NotFound
from models.contracts.approvals import ApprovalSeen, Question
from models.contracts.operations import ActionNote, Command, Held, OpenOperation, OperationChange, Reread
from models.contracts.owners import AppliedTo, OwnedSnapshot, OwnerProjection, OwnerState
from models.domain.approvals import ApprovalStatus, DecidedBy
from models.domain.holds import refused_by_provider
from models.domain.operations import OperationStatus
from tests.patience import GIVE_UP_S
from workflows import options
from workflows.lib.approvals import permitted
from workflows.lib.changes import OwnerChange
from workflows.lib.owner import Owner
from workflows.lib.signals import OwnerSignals

QUEUE = "lamps"
PUT_OUT = "lamp.put_out"
OPEN_FOR_S = 24 * 3600.0
"""How long it is asked whether a precious one may be put out."""


class Phase(StrEnum):
    ORDERED = "ordered"  # -> burning
    BURNING = "burning"  # -> out, or ordered again where it flickers
    OUT = "out"


class LampKey(BaseModel):
    lamp: UUID


class LampInput(OwnerState):
    lamp: UUID
    lightings: int = 0


class LampSnapshot(OwnedSnapshot):
    status: Phase
    flickers: bool = False
    is_precious: bool = False
    """Somebody is asked before it is put out."""


class LampProjection(OwnerProjection):
    key: LampKey
    status: Phase | None = None


class LampApplied(AppliedTo[LampSnapshot]):
    """Of a lamp's projection."""


class LampChange(OwnerChange, total=False):
    status: Phase | None


class LampActivities:
    """`rows` is the database: what is in it stands."""

    def __init__(self) -> None:
        self.rows: dict[UUID, LampSnapshot] = {}
        self.projections: list[LampProjection] = []
        self.moved: dict[UUID, OperationStatus] = {}
        self.reads = 0
        self.refuses: AppError | None = None
        self.outside: Callable[[], Any] = lambda: None
        """What lighting does: it may raise, or await what never comes."""
        self.now: Callable[[], Awaitable[datetime]] | None = None
        """The clock of the database, where one is asked for."""
        self.at: dict[str, Callable[[], Awaitable[None]]] = {}
        """What happens the next time that an activity comes to this point, such as `load:before`."""

    async def reached(self, point: str) -> None:
        happens = self.at.pop(point, None)
        if happens is not None:
            await happens()

    def change(self, lamp: UUID, **fields: Any) -> None:
        row = self.rows[lamp]
        self.rows[lamp] = row.model_copy(update={**fields, "version": row.version + 1})

    @activity.defn
    async def load_lamp(self, key: LampKey) -> LampSnapshot:
        self.reads += 1
        await self.reached("load:before")
        if self.refuses is not None:
            raise self.refuses
        if key.lamp not in self.rows:
            raise NotFound("there is no such lamp", code="LAMP_NOT_FOUND")
        row = self.rows[key.lamp].model_copy(update={"read_at": await self.now() if self.now else None})
        await self.reached("load:after")
        return row

    @activity.defn
    async def project_lamp(self, change: LampProjection) -> LampApplied:
        point = "ask" if change.questions else "settle" if change.settles_due else "project"
        await self.reached(f"{point}:before")
        row = self.rows[change.key.lamp]
        if row.version != change.expected_version:
            return LampApplied(applied=False, snapshot=row)
        read_at = await self.now() if self.now else None
        approvals = self._approvals(row.approvals, change, read_at) if read_at else row.approvals
        self.projections.append(change)
        still_open = list(row.operations)
        for each in change.operations:
            for one in [one for one in still_open if each.ids is None or one.id in each.ids]:
                self.moved[one.id] = each.status
                still_open.remove(one)
        status = change.status or row.status
        self.change(
            change.key.lamp,
            status=status,
            held=change.held,
            operations=still_open,
            flickers=False,
            approvals=approvals,
            read_at=read_at,
        )
        snapshot = self.rows[change.key.lamp]
        await self.reached(f"{point}:after")
        return LampApplied(applied=True, snapshot=snapshot)

    @staticmethod
    def _approvals(asked: list[ApprovalSeen], change: LampProjection, now: datetime) -> list[ApprovalSeen]:
        settled = [
            one.model_copy(update={"status": ApprovalStatus.REJECTED, "decided_by": DecidedBy.DEADLINE})
            if change.settles_due and one.status is ApprovalStatus.PENDING and one.until <= now
            else one
            for one in asked
        ]
        return settled + [
            ApprovalSeen(
                id=uuid4(),
                code=one.code,
                operation_id=one.operation_id,
                status=ApprovalStatus.PENDING,
                until=now + timedelta(seconds=one.open_for_s),
            )
            for one in change.questions
        ]

    @activity.defn
    async def light_lamp(self, _key: LampKey) -> None:
        found = self.outside()
        if asyncio.iscoroutine(found):
            await found


class LampOwner(Owner[LampSnapshot, LampInput]):
    OVER = frozenset({Phase.OUT})
    NOT_FOUND = "LAMP_NOT_FOUND"

    def __init__(self, start: LampInput) -> None:
        super().__init__(start)
        self.key = LampKey(lamp=start.lamp)

    async def read_row(self) -> LampSnapshot:
        return await workflow.execute_local_activity_method(LampActivities.load_lamp, self.key, **options.RECORD)

    async def write_row(self, fields: Mapping[str, Any], call_options: options.LocalActivityOptions) -> LampApplied:
        projection = LampProjection(key=self.key, **fields)
        return await workflow.execute_local_activity_method(LampActivities.project_lamp, projection, **call_options)

    async def project(self, *, waiting: str | None = None, **change: Unpack[LampChange]) -> bool:
        return await self.apply(change, LampChange, waiting=waiting)

    @property
    def stage(self) -> tuple[object, ...]:
        return (self.row.status,)

    @property
    def is_call_unwanted(self) -> bool:
        return self.row.open_operation(PUT_OUT) is not None


async def put_out(owner: LampOwner) -> None:
    question = Question(code="PUT_OUT_LAMP", permission="lamps:write", open_for_s=OPEN_FOR_S)
    meant = owner.row.open_operation(PUT_OUT)
    if owner.row.is_precious:
        meant = await permitted(owner, PUT_OUT, question)
    if meant is None:
        return
    done = OperationChange(kind=PUT_OUT, status=OperationStatus.SUCCEEDED, ids=[meant.id])
    others = OperationChange(kind=PUT_OUT, status=OperationStatus.CANCELLED)
    await owner.project(status=Phase.OUT, operations=[done, others], actions=[ActionNote(action_type="LAMP_OUT")])


async def light(owner: LampOwner) -> None:
    if owner.is_call_unwanted:
        await put_out(owner)
        return
    try:
        await owner.call(
            LampActivities.light_lamp, owner.key, options.PROVIDER_MUTATION, task_queue=QUEUE, summary="light it"
        )
    except AppError as error:
        owner.holding.note(refused_by_provider(error.code))
        await owner.project(waiting="a match")
        await owner.wait_for_news(options.PROVIDER_PAUSE_S)
        return
    owner.state.lightings += 1
    await owner.project(status=Phase.BURNING)


async def burn(owner: LampOwner) -> None:
    if owner.is_call_unwanted:
        await put_out(owner)
    elif owner.row.flickers:
        await owner.project(status=Phase.ORDERED)
    else:
        await owner.wait_for_news()


@workflow.defn(name="Lamp")
class LampWorkflow(OwnerSignals):
    owner: LampOwner

    @workflow.init
    def __init__(self, start: LampInput) -> None:
        self.owner = LampOwner(start)

    @workflow.run
    async def run(self, _start: LampInput) -> None:
        await self.owner.live(self._act)

    async def _act(self) -> None:
        match self.owner.row.status:
            case Phase.ORDERED:
                await light(self.owner)
            case Phase.BURNING:
                await burn(self.owner)
            case Phase.OUT:
                return

    @workflow.query
    def lightings(self) -> int:
        return self.owner.state.lightings


class Lamp:
    """One lamp, its row and its owner."""

    def __init__(self, client: Client, activities: LampActivities) -> None:
        self.id = uuid4()
        self.activities, self.client = activities, client
        activities.rows[self.id] = LampSnapshot(status=Phase.ORDERED, version=1)

    @property
    def row(self) -> LampSnapshot:
        return self.activities.rows[self.id]

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(f"lamp/{self.id}")

    async def order(self, *, held: Held | None = None) -> None:
        start = LampInput(lamp=self.id, held=held)
        await self.client.start_workflow("Lamp", start, id=f"lamp/{self.id}", task_queue=QUEUE)

    async def command(self) -> UUID:
        operation = OpenOperation(id=uuid4(), kind=PUT_OUT, status=OperationStatus.PENDING)
        self.activities.change(self.id, operations=[operation])
        await self.handle.signal("command", Command(operation_id=operation.id))
        return operation.id

    async def decide(self, status: ApprovalStatus) -> None:
        """As a person does: the row, then the hint."""
        [asked] = self.row.approvals
        assert asked.status is ApprovalStatus.PENDING
        decided = asked.model_copy(update={"status": status, "decided_by": DecidedBy.PERSON})
        self.activities.rows[self.id] = self.row.model_copy(update={"approvals": [decided]})
        await self.handle.signal("command", Command(operation_id=asked.operation_id))

    async def wake(self) -> None:
        await self.handle.signal("reread", Reread())

    async def wake_and_read(self) -> None:
        reads = self.activities.reads
        await self.wake()
        await self.until(lambda _: self.activities.reads > reads)

    async def until(self, true: Callable[[LampSnapshot], bool], skip: Callable[[], Any] | None = None) -> None:
        async with asyncio.timeout(GIVE_UP_S):
            while not true(self.row):
                await (skip() if skip else asyncio.sleep(0.01))


@asynccontextmanager
async def lamp_workers(client: Client) -> AsyncIterator[LampActivities]:
    activities = LampActivities()
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[LampWorkflow],
        activities=[activities.load_lamp, activities.project_lamp, activities.light_lamp],
    ):
        yield activities
