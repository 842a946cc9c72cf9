"""Schedules by rows: Temporal's are made, changed and deleted as the rows say."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

from temporalio import activity

from activities.runtime.crash import crash_point, crash_points
from activities.runtime.heartbeat import Heartbeat
from models.base.errors import AppError
from models.contracts.schedules import (
    ReconcileSchedules,
    ScheduleKinds,
    SchedulesReconciled,
)
from models.domain.schedules import NoSchedules, ScheduleRefused, ScheduleState

if TYPE_CHECKING:
    from delivery.schedules import TemporalSchedules
    from models.repositories.schedule_rows import ScheduleRow, ScheduleRows
    from models.repositories.sweeper_rows import SweeperRows

logger = logging.getLogger(__name__)

T = TypeVar("T")

PARALLEL: Final = 8
COMPARED_PER_PASS: Final = 200
"""Schedules that one pass compares in full with what it left: where there are more, they take turns. So many descriptions take a
second or two of a server on one core."""

SETTLED_AFTER_S: Final = 10.0
"""A resource that is over for so long, or gone, has no schedules any more."""


class ScheduleActivities:
    """`resources` answers which resources are over, `kinds` are those of every family that this process knows."""

    def __init__(
        self, rows: ScheduleRows, resources: SweeperRows, schedules: TemporalSchedules, kinds: ScheduleKinds
    ) -> None:
        self._rows, self._resources, self._schedules, self._kinds = rows, resources, schedules, kinds

    @activity.defn
    @crash_points()
    async def reconcile_schedules(self, request: ReconcileSchedules) -> SchedulesReconciled:
        """Safe to repeat and to run twice at once. A schedule that fails keeps no other from being seen to: what it failed with
        is raised when everything else is done. A server that takes no schedules is no failure: the result says so.

        Raises ServiceUnavailable while the database or Temporal is away.
        """
        async with Heartbeat():
            try:
                return await self._reconcile(request.round)
            except NoSchedules as error:
                status = str(error.details.get("status"))
                logger.warning("schedules are not kept: the workflow engine takes none (%s)", status)
                return SchedulesReconciled(error_code=status)

    async def _reconcile(self, number: int) -> SchedulesReconciled:
        listed = await self._schedules.listed()  # before the rows: a schedule's row is there before it
        rows = await self._rows.read()
        if await self._retire(rows):
            rows = await self._rows.read()
        done = _Pass(self._rows, self._schedules, self._kinds)
        orphans = sorted(listed - {row.id for row in rows})
        await done.all(done.delete_orphan, orphans)
        await done.all(done.see_to, _to_see_to(rows, listed, number))
        return done.result()

    async def _retire(self, rows: Sequence[ScheduleRow]) -> int:
        """What resources that are over, or gone, had done again and again."""
        resources: dict[str, set[UUID]] = defaultdict(set)
        for row in rows:
            if row.state is not ScheduleState.REMOVING:
                resources[row.kind].add(row.resource_id)
        retired = 0
        for name, ids in resources.items():
            kind = self._kinds.of(name)
            if kind is not None:
                over = await self._resources.not_in_need(kind.owner, ids, settled_s=SETTLED_AFTER_S)
                retired += await self._rows.retire(kind.owner.resource_kind, sorted(over))
        return retired


def _to_see_to(rows: Sequence[ScheduleRow], listed: set[UUID], number: int) -> list[ScheduleRow]:
    """Rows that Temporal has not heard of, those whose schedules are missing, or there although refused, and of the others
    those whose turn it is.
    """
    settled = [row for row in rows if row.state is ScheduleState.APPLIED and row.id in listed]
    turns = -(-len(settled) // COMPARED_PER_PASS) or 1
    due = {row.id for row in settled[number % turns :: turns]}
    unsettled = {ScheduleState.PENDING, ScheduleState.REMOVING}
    return [
        row
        for row in rows
        if row.state in unsettled
        or row.id in due
        or (row.state is ScheduleState.APPLIED and row.id not in listed)
        or (row.state is ScheduleState.REFUSED and row.id in listed)
    ]


class _Pass:
    """What one pass does and counts, some schedules at a time, each of which may fail by itself."""

    def __init__(self, rows: ScheduleRows, schedules: TemporalSchedules, kinds: ScheduleKinds) -> None:
        self._rows, self._schedules, self._kinds = rows, schedules, kinds
        self._counts: Counter[str] = Counter()
        self._slots = asyncio.Semaphore(PARALLEL)
        self._first: AppError | None = None

    async def all(self, one: Callable[[T], Awaitable[None]], items: Sequence[T]) -> None:
        """What the server refuses altogether is not asked for once more."""

        async def bounded(item: T) -> None:
            async with self._slots:
                if isinstance(self._first, NoSchedules):
                    return
                try:
                    await one(item)
                except NoSchedules as error:
                    self._first = error
                except AppError as error:
                    self._first = self._first or error

        await asyncio.gather(*map(bounded, items))

    def result(self) -> SchedulesReconciled:
        """Raises the first failure of any schedule."""
        if self._first is not None:
            raise self._first
        return SchedulesReconciled(**self._counts)

    async def delete_orphan(self, row_id: UUID) -> None:
        crash_point("reconcile_schedules", "before_call")
        await self._schedules.delete(row_id)
        crash_point("reconcile_schedules", "after_call")
        self._counts["deleted"] += 1

    async def see_to(self, row: ScheduleRow) -> None:
        if row.state is ScheduleState.REMOVING:
            await self.delete_orphan(row.id)
            await self._rows.drop(row)
        elif row.state is ScheduleState.REFUSED:
            await self.delete_orphan(row.id)
        elif row.state is ScheduleState.PENDING or not await self._is_as_left(row):
            await self._write(row)

    async def _is_as_left(self, row: ScheduleRow) -> bool:
        described = await self._schedules.described(row.id)
        return described is not None and described.digest == row.digest

    async def _write(self, row: ScheduleRow) -> None:
        kind = self._kinds.of(row.kind)
        if kind is None:  # of a version to come, whose workers know it
            return
        crash_point("reconcile_schedules", "before_call")
        try:
            is_new = await self._schedules.write(row, kind)
        except ScheduleRefused as error:
            logger.warning(
                "schedule %s of %s %s is refused by the workflow engine", row.id, row.resource_kind, row.resource_id
            )
            await self._schedules.delete(row.id)  # what it said before is not what is asked for
            await self._rows.settle(row, error_code=error.code)
            self._counts["refused"] += 1
            return
        crash_point("reconcile_schedules", "after_call")
        described = await self._schedules.described(row.id)
        if described is not None and described.is_of(row):  # or another pass has written since
            await self._rows.settle(row, digest=described.digest)
        self._counts["created" if is_new else "changed"] += 1
