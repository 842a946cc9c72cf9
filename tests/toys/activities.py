"""What the owner of a toy has done: its row, and the world, which here is a file that gains a line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from temporalio import activity

from activities.runtime.crash import crash_point, crash_points
from tests.toys.contracts import ToyApplied, ToyKey, ToyProjection, ToySnapshot, ToyWork

if TYPE_CHECKING:
    from models.repositories.owned_table import OwnedTable


class ToyActivities:
    def __init__(self, rows: OwnedTable[ToySnapshot], ledger: Path) -> None:
        self._rows, self._ledger = rows, ledger

    @activity.defn
    async def load_toy(self, key: ToyKey) -> ToySnapshot:
        return await self._rows.load(key.toy_id, key.organization_id)

    @activity.defn
    @crash_points()
    async def project_toy(self, change: ToyProjection) -> ToyApplied:
        crash_point("project_toy", "before_call")
        applied = await self._rows.apply(change.key.toy_id, change.key.organization_id, change, status=change.status)
        crash_point("project_toy", "after_call")
        return ToyApplied(applied=applied.applied, snapshot=applied.snapshot)

    @activity.defn
    @crash_points()
    async def work_on_toy(self, work: ToyWork) -> None:
        """Find or create (DESIGN rule 5): the line is the key."""
        crash_point("work_on_toy", "before_call")
        await asyncio.to_thread(self._write, f"{work.word} {work.key.toy_id}\n")
        crash_point("work_on_toy", "after_call")

    def _write(self, line: str) -> None:
        with self._ledger.open("a+") as ledger:
            ledger.seek(0)
            if line not in ledger.readlines():
                ledger.write(line)
