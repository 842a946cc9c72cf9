"""Temporal's schedules, as this installation makes them of rows: found by an attribute, compared by a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
)
from temporalio.common import TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from delivery.outbox import OWNER_TASK_TIMEOUT
from models.base.errors import ServiceUnavailable
from models.contracts.schedules import (
    RESOURCE_KIND_OF_SCHEDULES,
    ScheduledRun,
    ScheduleKind,
    parse_schedule_id,
    schedule_id_of,
)
from models.contracts.search_attributes import RESOURCE_KIND, search_attributes
from models.domain.schedules import NoSchedules, Overlap, ScheduleRefused
from models.repositories.schedule_rows import ScheduleRow

RPC_TIMEOUT: Final = timedelta(seconds=10)
"""A description waits for the schedule's own workflow, which takes a second or two on a busy server."""

OURS: Final = f"{RESOURCE_KIND.name} = '{RESOURCE_KIND_OF_SCHEDULES}'"

_OVERLAP: Final = {
    Overlap.SKIP: ScheduleOverlapPolicy.SKIP,
    Overlap.BUFFER_ONE: ScheduleOverlapPolicy.BUFFER_ONE,
    Overlap.ALLOW: ScheduleOverlapPolicy.ALLOW_ALL,
}

_REFUSES_ONE: Final = frozenset({RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.OUT_OF_RANGE})
_REFUSES_ALL: Final = frozenset(
    {RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED}
)


@dataclass(frozen=True)
class Described:
    """A schedule as the server has it: `digest` is of all but the time of its runs."""

    digest: str
    note: str

    def is_of(self, row: ScheduleRow) -> bool:
        """Whether the row's revision is what it was written from."""
        return self.note == _note_of(row.revision)


def _note_of(revision: int) -> str:
    """What a schedule says of the row that it was written from."""
    return f"revision {revision} of its row, which is what to change"


class TemporalSchedules:
    """Raises ServiceUnavailable while Temporal does not answer, NoSchedules where it takes none of ours."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def listed(self) -> set[UUID]:
        """The rows that the server lists a schedule for. The list lags behind: it says what is worth a look."""
        with _translated():
            schedules = await self._client.list_schedules(OURS, rpc_timeout=RPC_TIMEOUT)
            ids = [parse_schedule_id(each.id) async for each in schedules]
        return {each for each in ids if each is not None}

    async def write(self, row: ScheduleRow, kind: ScheduleKind) -> bool:
        """Make it as the row says; True where it was not there before. Raises ScheduleRefused."""
        schedule, attributes = _schedule(row, kind), _attributes(row, kind)
        with _translated():
            try:
                await self._client.create_schedule(
                    schedule_id_of(row.id), schedule, search_attributes=attributes, rpc_timeout=RPC_TIMEOUT
                )
            except ScheduleAlreadyRunningError:
                update = ScheduleUpdate(schedule, attributes)
                await self._client.get_schedule_handle(schedule_id_of(row.id)).update(
                    lambda _now: update, rpc_timeout=RPC_TIMEOUT
                )
                return False
        return True

    async def described(self, row_id: UUID) -> Described | None:
        """What the server does for it; None where there is no such schedule."""
        with _translated():
            try:
                description = await self._client.get_schedule_handle(schedule_id_of(row_id)).describe(
                    rpc_timeout=RPC_TIMEOUT
                )
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return None
                raise
        return Described(_digest(description), str(description.schedule.state.note))

    async def delete(self, row_id: UUID) -> None:
        """Returns once it is gone. One that is not there is."""
        with _translated():
            try:
                await self._client.get_schedule_handle(schedule_id_of(row_id)).delete(rpc_timeout=RPC_TIMEOUT)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise


def _schedule(row: ScheduleRow, kind: ScheduleKind) -> Schedule:
    run = ScheduledRun(
        kind=row.kind, schedule_id=row.id, organization_id=row.organization_id, resource_id=row.resource_id
    )
    timing = row.timing
    return Schedule(
        action=ScheduleActionStartWorkflow(
            kind.workflow,
            kind.start(run),
            id=kind.run_id(row.id),
            task_queue=kind.queue,
            task_timeout=OWNER_TASK_TIMEOUT,
            static_summary=f"{kind.kind} of {kind.owner.noun} {row.resource_id}",
            typed_search_attributes=search_attributes(
                resource_kind=row.resource_kind,
                resource_id=str(row.resource_id),
                surface=kind.owner.surface,
                org_id=row.organization_id,
            ),
        ),
        spec=ScheduleSpec(
            cron_expressions=[] if timing.cron is None else [timing.cron],
            intervals=[]
            if timing.interval_s is None
            else [ScheduleIntervalSpec(every=timedelta(seconds=timing.interval_s))],
            time_zone_name=timing.time_zone,
        ),
        policy=SchedulePolicy(overlap=_OVERLAP[row.overlap], catchup_window=kind.catch_up),
        state=ScheduleState(paused=row.is_paused, note=_note_of(row.revision)),
    )


def _attributes(row: ScheduleRow, kind: ScheduleKind) -> TypedSearchAttributes:
    return search_attributes(
        resource_kind=RESOURCE_KIND_OF_SCHEDULES,
        resource_id=str(row.id),
        surface=kind.owner.surface,
        org_id=row.organization_id,
    )


def _digest(description: ScheduleDescription) -> str:
    schedule = description.raw_description.schedule
    return hashlib.sha256(schedule.SerializeToString(deterministic=True)).hexdigest()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RPCError as error:
        if error.status in _REFUSES_ONE:
            raise ScheduleRefused(
                "the workflow engine refuses the schedule", details={"status": error.status.name}
            ) from error
        if error.status in _REFUSES_ALL:
            raise NoSchedules(
                "the workflow engine takes no schedules", details={"status": error.status.name}
            ) from error
        raise _unavailable(error.status.name) from error
    except RuntimeError as error:  # of a lazily connected client that has never reached its server
        raise _unavailable("NOT_CONNECTED") from error


def _unavailable(status: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        "the workflow engine does not answer about schedules", code="TEMPORAL_UNAVAILABLE", details={"status": status}
    )
