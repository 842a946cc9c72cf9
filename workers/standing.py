"""Keeps the standing workflows running: started where they are not, the schedules that did their work before deleted."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from delivery.outbox import OWNER_TASK_TIMEOUT, RPC_TIMEOUT
from models.contracts.search_attributes import search_attributes
from workers.family import StandingWorkflow

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 20.0
"""A standing workflow that somebody ended is back within this time, and thus within half a minute."""

FORMER_SCHEDULES: Final = ("sweeper", "samples")
"""Schedules that started an execution per round until 2026-11-26. They are looked for each time, since a worker of that time
that is still running makes them again when it starts. To be removed once no such worker can be, at the earliest 2027-06.
"""


async def keep_standing(client: Client, standing: Sequence[StandingWorkflow]) -> None:
    """Runs until cancelled, in any number of processes: starting what runs already changes nothing."""
    is_first = True
    while True:
        try:
            await ensure_standing(client, standing, is_first=is_first)
            is_first = False
        except RPCError as error:
            logger.warning("the standing workflows cannot be looked after (%s)", error.status.name)
        await asyncio.sleep(LOOK_EVERY_S)


async def ensure_standing(client: Client, standing: Sequence[StandingWorkflow], *, is_first: bool = False) -> None:
    """One look: deletes the former schedules, starts what does not run. Raises RPCError while Temporal does not answer.

    `is_first`: of this process. What has waited since the installation was stopped looks now.
    """
    for one in standing:
        if one.id in FORMER_SCHEDULES:
            await _delete_schedule(client, one.id)
    for one in standing:
        await start_standing(client, one, asks=is_first)


async def _delete_schedule(client: Client, schedule_id: str) -> None:
    try:
        await client.get_schedule_handle(schedule_id).delete(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    else:
        logger.info("deleted the schedule %s: a standing workflow does its work", schedule_id)


async def start_standing(client: Client, one: StandingWorkflow, *, asks: bool) -> None:
    """Where it does not run. `asks` it for a round, if it can be asked. Raises RPCError.

    A run of the former schedules may be at its one round meanwhile; rounds may run twice at once."""
    look = one.look if asks else None
    await client.start_workflow(
        one.workflow,
        one.start,
        id=one.id,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        task_queue=one.queue,
        task_timeout=OWNER_TASK_TIMEOUT,
        rpc_timeout=RPC_TIMEOUT,
        search_attributes=search_attributes(
            resource_kind="standing", resource_id=one.id, surface=one.surface, provider=one.provider
        ),
        memo={"about": one.summary},  # which passes from run to run, as the next two do not
        static_summary=one.summary,
        static_details=one.details,
        start_signal=None if look is None else "look",
        start_signal_args=[] if look is None else [look],
    )
