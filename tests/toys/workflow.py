"""The owner of a toy."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Unpack

from temporalio import workflow

from models.contracts.approvals import Question
from models.contracts.operations import OperationChange
from models.domain.operations import OperationStatus
from tests.toys.activities import ToyActivities
from tests.toys.contracts import (
    BREAK,
    MAKE,
    TICK,
    TOY,
    Phase,
    ToyApplied,
    ToyInput,
    ToyKey,
    ToyProjection,
    ToySnapshot,
    ToyWork,
)
from workflows import options
from workflows.lib.approvals import permitted
from workflows.lib.changes import OwnerChange
from workflows.lib.owner import Owner
from workflows.lib.signals import OwnerSignals


class ToyChange(OwnerChange, total=False):
    status: Phase | None


class ToyOwner(Owner[ToySnapshot, ToyInput]):
    OVER = frozenset({Phase.BROKEN})
    NOT_FOUND = "TOY_NOT_FOUND"

    def __init__(self, start: ToyInput) -> None:
        super().__init__(start)
        self.key = ToyKey(toy_id=start.toy_id, organization_id=start.organization_id)

    async def read_row(self) -> ToySnapshot:
        return await workflow.execute_local_activity_method(ToyActivities.load_toy, self.key, **options.RECORD)

    async def write_row(self, fields: Mapping[str, Any], call_options: options.LocalActivityOptions) -> ToyApplied:
        projection = ToyProjection(key=self.key, **fields)
        return await workflow.execute_local_activity_method(ToyActivities.project_toy, projection, **call_options)

    async def project(self, *, waiting: str | None = None, **change: Unpack[ToyChange]) -> bool:
        return await self.apply(change, ToyChange, waiting=waiting)

    @property
    def stage(self) -> tuple[object, ...]:
        return (self.row.status,)

    @property
    def is_call_unwanted(self) -> bool:
        return self.row.open_operation(BREAK) is not None and self.row.status is Phase.ORDERED

    async def act(self) -> None:
        if self.row.open_operation(BREAK) is not None:
            await self._end()
        elif self.row.status is Phase.ORDERED:
            await self._begin()
        elif self.row.open_operation(TICK) is not None:
            for status in (OperationStatus.RUNNING, OperationStatus.SUCCEEDED):
                await self.project(operations=[OperationChange(kind=TICK, status=status)])
        else:
            await self.wait_for_news()

    async def _begin(self) -> None:
        await self.project(operations=[OperationChange(kind=MAKE, status=OperationStatus.RUNNING)], waiting="TOY_MADE")
        work = ToyWork(key=self.key, word="made")
        await self.call(
            ToyActivities.work_on_toy, work, options.PROVIDER_MUTATION, task_queue=TOY.queue, summary="have it made"
        )
        made = OperationChange(kind=MAKE, status=OperationStatus.SUCCEEDED)
        await self.project(status=Phase.WHOLE, operations=[made])

    async def _end(self) -> None:
        asked = Question(code="BREAK_TOY", permission="toys:write", asker_may_approve=True, open_for_s=3600)
        is_asked = self.row.status is Phase.WHOLE
        meant = await permitted(self, BREAK, asked) if is_asked else self.row.open_operation(BREAK)
        if meant is None:
            return
        its = partial(OperationChange, kind=BREAK, ids=[meant.id])
        await self.project(operations=[its(status=OperationStatus.RUNNING)], waiting="TOY_BROKEN")
        work = ToyWork(key=self.key, word="broken")
        await workflow.execute_activity_method(
            ToyActivities.work_on_toy, work, task_queue=TOY.queue, **options.PROVIDER_MUTATION
        )
        gone = [
            its(status=OperationStatus.SUCCEEDED),
            *(OperationChange(kind=kind, status=OperationStatus.CANCELLED) for kind in (BREAK, MAKE)),
        ]
        await self.project(status=Phase.BROKEN, operations=gone)


@workflow.defn(name="Toy")
class ToyWorkflow(OwnerSignals):
    owner: ToyOwner

    @workflow.init
    def __init__(self, start: ToyInput) -> None:
        self.owner = ToyOwner(start)

    @workflow.run
    async def run(self, _start: ToyInput) -> None:
        await self.owner.live(self.owner.act)
