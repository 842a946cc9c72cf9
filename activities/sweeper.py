"""One sweep: a missing owner comes back, what the families look for, what is old goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from temporalio import activity

from activities.runtime.failures import unwrap
from activities.runtime.heartbeat import Heartbeat
from models.contracts.owner_kinds import OwnerKind, OwnerKinds
from models.contracts.sweeper import SweepInput, SweepResult

if TYPE_CHECKING:
    from temporalio.client import Client

    from delivery.outbox import OutboxDelivery
    from models.repositories.sweeper_rows import SweeperRows

logger = logging.getLogger(__name__)

SETTLED_AFTER_S = 10.0
"""A row younger than this may still have its start in the outbox; the owner of one that ended since may be about to end."""

TOLD_AT_ONCE = 16

SweepStep = Callable[[], Awaitable[int]]
"""What one family looks for in every sweep; how much it found."""

Running = dict[OwnerKind, set[UUID]]


class SweeperActivities:
    """`steps` are those of the families, by the name under which a sweep counts them."""

    def __init__(
        self,
        rows: SweeperRows,
        client: Client,
        delivery: OutboxDelivery,
        kinds: OwnerKinds,
        steps: Mapping[str, SweepStep],
    ) -> None:
        self._rows, self._client, self._delivery = rows, client, delivery
        self._kinds, self._steps = kinds, steps
        self._has_asked_for_deliveries = False

    @activity.defn
    async def sweep(self, request: SweepInput) -> SweepResult:
        """Safe to repeat and to run twice at once. What fails for one family keeps no other from being swept: it is raised when
        everything else is done, or told of where a mark was left. Raises ServiceUnavailable while the database or Temporal is
        away.
        """
        attempts = _Attempts()
        async with Heartbeat():
            running = await self._running_owners(attempts)  # before the rows: an owner's row is there before it
            told = await self._tell_to_reread(running, request, attempts)
            mark = await self._leave_mark(request, attempts)
            restarted = await self._restart_missing_owners(running, attempts)
            found = await self._take_steps(attempts)  # after the owners, none of whom waits for one that takes its time
            purged = 0
            with attempts.one("what is old"):
                purged = await self._rows.purge()
        if mark is None:
            attempts.raise_first()
        return SweepResult(
            found=found,
            owners_restarted=restarted,
            purged=purged,
            owners_told=told,
            mark=mark,
            failed_code=attempts.failed_code,
        )

    async def _take_steps(self, attempts: _Attempts) -> dict[str, int]:
        counts = {}
        for name, step in self._steps.items():
            with attempts.one(name):
                counts[name] = await step()
        return {name: count for name, count in counts.items() if count}

    async def _running_owners(self, attempts: _Attempts) -> Running:
        """Of every kind, or of none: half a list would have all others started anew."""
        running: Running = {}
        with attempts.one("the owners"):
            running.update(await self._listed_owners())
        return running

    async def _listed_owners(self) -> Running:
        """All kinds by one list."""
        kinds = {kind.workflow: kind for kind in self._kinds}
        types = ", ".join(f"'{workflow}'" for workflow in kinds)
        found: Running = {kind: set() for kind in kinds.values()}
        async for one in self._client.list_workflows(f"WorkflowType IN ({types}) AND ExecutionStatus = 'Running'"):
            kind = kinds[one.workflow_type]
            if (resource_id := kind.resource_of(one.id)) is not None:
                found[kind].add(resource_id)
        return found

    async def _tell_to_reread(self, running: Running, request: SweepInput, attempts: _Attempts) -> int:
        """Every owner, where database and engine are of different times: what it knows of its row may be of another. Otherwise
        those whose rows are over or gone: nothing will ever happen to such a row that would wake an owner. And once in the life
        of a process those that a message reached since the mark: an engine that lost less than a sweep, as after a power cut,
        bears the mark still.
        """
        is_of_one_time = not request.is_marked or await self._rows.bears_mark(request.mark)
        reached: set[str] = set()
        if not is_of_one_time:
            logger.warning(
                "the database is not as the last sweep left it: all %d owners read their rows again",
                sum(map(len, running.values())),
            )
        elif request.is_marked and not self._has_asked_for_deliveries:
            reached = await self._rows.delivered_since_mark()
        told = 0
        for kind, owners in running.items():
            with attempts.one(f"the rows of {kind.resource_kind}"):
                doubtful = owners
                if is_of_one_time:
                    doubtful = await self._rows.not_in_need(kind, owners, settled_s=SETTLED_AFTER_S)
                    doubtful |= {one for one in owners if kind.workflow_id(one) in reached}
                told += await self._tell(kind, sorted(doubtful))
        return told

    async def _leave_mark(self, request: SweepInput, attempts: _Attempts) -> UUID | None:
        """After all owners were told: a sweep that is killed before, or could not tell all, tells them again."""
        if not request.is_marked or attempts.have_failed:
            return None
        mark = uuid4()
        await self._rows.mark(mark)
        self._has_asked_for_deliveries = True
        return mark

    async def _tell(self, kind: OwnerKind, owners: list[UUID]) -> int:
        told = 0
        for first in range(0, len(owners), TOLD_AT_ONCE):
            batch = owners[first : first + TOLD_AT_ONCE]
            told += sum(await asyncio.gather(*(self._delivery.have_reread(kind, one) for one in batch)))
        return told

    async def _restart_missing_owners(self, running: Running, attempts: _Attempts) -> int:
        """Visibility lags, so its list only says who is worth a try; whether an owner is missing the start itself decides."""
        restarted = 0
        for kind, owners in running.items():
            with attempts.one(f"missing owners of {kind.resource_kind}"):
                for row in await self._rows.unfinished(kind, older_than_s=SETTLED_AFTER_S):
                    if row.resource_id not in owners:
                        restarted += await self._delivery.restart_owner(
                            kind, row.resource_id, row.organization_id, provider_code=row.provider_code
                        )
        return restarted


class _Attempts:
    """Parts of a sweep, each of which may fail by itself."""

    def __init__(self) -> None:
        self._first: Exception | None = None

    @property
    def have_failed(self) -> bool:
        return self._first is not None

    @contextmanager
    def one(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  (raised later: what is broken for one family must not stop the sweep of all)
            logger.warning("the sweep goes on without %s (%s)", name, type(error).__name__)
            self._first = self._first or error

    @property
    def failed_code(self) -> str | None:
        """Of the first; an error that is none of ours has the code of any such."""
        return None if self._first is None else unwrap(self._first).code

    def raise_first(self) -> None:
        if self._first is not None:
            raise self._first
