"""What a provider has of ours, compared with our rows: a machine that nobody looks after is reported, never ended by itself."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from temporalio import activity

from activities.fleet.machine_pages import pages_of_machines
from activities.runtime.heartbeat import Heartbeat
from models.base.errors import AppError, ProviderError, ProviderUnavailable
from models.contracts.fleet.reconcile import FailedListing, ReconcileInput, ReconcileResult
from models.domain.fleet.instances.unowned import SENTENCES, UnownedReason
from models.ports.compute import Machine, MachineState, SupportsVolumes

if TYPE_CHECKING:
    from uuid import UUID

    from models.ports.compute import ComputePort
    from models.repositories.fleet.unowned_machines import UnownedMachines
    from models.tables.fleet.unowned import UnownedMachine

logger = logging.getLogger(__name__)

CONFIRM_AFTER_S = 15.0
"""Between the two lists that have to agree on a machine: longer than a provider shows one that is gone."""
END_WATCH_S = 30.0
"""A machine that an operator wants to end is watched for so long; what is left then is the next round's."""
POLL_S = 1.0


@dataclass
class Listing:
    """What the provider listed and whom nobody looks after."""

    seen: set[str] = field(default_factory=set)
    unowned: dict[str, tuple[Machine, UnownedReason]] = field(default_factory=dict)
    foreign: int = 0


class ReconcileActivities:
    """One provider. Registered on its queue, which is what machines are kept under."""

    def __init__(
        self, compute: ComputePort, rows: UnownedMachines, *, confirm_after_s: float = CONFIRM_AFTER_S
    ) -> None:
        self._compute, self._rows = compute, rows
        self._confirm_after_s = confirm_after_s
        self._shows_foreign = False

    @activity.defn
    async def reconcile_machines(self, request: ReconcileInput) -> ReconcileResult:
        """Safe to repeat and to run twice at once. Raises ServiceUnavailable while the database is away.

        A provider that does not answer, or whose list makes no sense, is no failure of the activity: it is noted, said once, and
        what is known stays as it is.
        """
        queue = activity.info().task_queue
        async with Heartbeat():
            try:
                listing = await self._confirmed(queue)
                ended = await self._look_after(queue, listing)
            except (ProviderError, ProviderUnavailable) as error:
                await note_failed_listing(self._rows, queue, error.code)
                return ReconcileResult(error_code=error.code)
        self._note_foreign(queue, listing.foreign)
        if await self._rows.listed(queue, len(listing.seen)):
            logger.info("the machines of %s are listed again", queue)
        unowned = len(listing.unowned) - ended
        return ReconcileResult(machines=len(listing.seen), unowned=unowned, ended=ended)

    async def _confirmed(self, queue: str) -> Listing:
        """The list. What is news in it is in a second one, too: a machine is still listed for a moment when it is gone."""
        installation_id = await self._rows.installation_id()
        listing = await self._listing(installation_id)
        if listing.unowned.keys() <= (await self._rows.reported(queue)).keys():
            return listing
        await asyncio.sleep(self._confirm_after_s)
        again = await self._listing(installation_id)
        again.unowned = {one: found for one, found in again.unowned.items() if one in listing.unowned}
        return again

    async def _listing(self, installation_id: UUID) -> Listing:
        listing = Listing()
        async for page in pages_of_machines(self._compute, installation_id):
            machines = {one.provider_instance_id: one for one in page.machines}
            listing.seen |= machines.keys()
            listing.foreign += page.foreign
            there = [
                one for one in page.machines if one.state is not MachineState.PREEMPTED
            ]  # gone or going, and not billed
            for machine_id, reason in (await self._rows.judge(there)).items():
                listing.unowned[machine_id] = (machines[machine_id], reason)
        return listing

    async def _look_after(self, queue: str, listing: Listing) -> int:
        """Report what is new, end what an operator wants to end, forget what is over. How many were ended."""
        for machine, reason in listing.unowned.values():
            if await self._rows.report(queue, machine, reason):
                logger.error(
                    "machine %s at %s (%s, %s) belongs to nobody: %s. It is billed until somebody ends it: "
                    "quarterdeck machines end %s",
                    machine.provider_instance_id, queue, machine.zone, machine.instance_type, SENTENCES[reason],
                    machine.provider_instance_id,
                )  # fmt: skip
        ended = 0
        for machine_id, one in (await self._rows.reported(queue)).items():
            is_listed, is_unowned = machine_id in listing.seen, machine_id in listing.unowned
            if is_listed and not is_unowned:
                logger.info("machine %s at %s has an owner now", machine_id, queue)
                await self._rows.settle(queue, machine_id, ended=False)
            elif one.end_requested_at is not None:
                ended += await self._end(queue, one)
            elif not is_listed and await self._compute.ended(machine_id, one.zone) is not None:
                logger.info("machine %s at %s, which belonged to nobody, is gone", machine_id, queue)
                await self._rows.settle(queue, machine_id, ended=False)
        return ended

    async def _end(self, queue: str, one: UnownedMachine) -> bool:
        """True once it is verified to be gone, with what it brought. What is left, or refused, is the next round's."""
        try:
            volumes = await self._volumes_of(one)
            await self._compute.delete(one.provider_instance_id, one.zone)
            is_gone = await self._is_gone(one) and await self._without_volumes(one, volumes)
        except AppError as error:
            logger.warning("machine %s at %s does not end (%s)", one.provider_instance_id, queue, error.code)
            return False
        if is_gone:
            logger.info("machine %s at %s, which belonged to nobody, is ended", one.provider_instance_id, queue)
            await self._rows.settle(queue, one.provider_instance_id, ended=True)
        return is_gone

    async def _is_gone(self, one: UnownedMachine) -> bool:
        deadline = asyncio.get_running_loop().time() + END_WATCH_S
        while await self._compute.ended(one.provider_instance_id, one.zone) is None:
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(POLL_S)
        return True

    async def _volumes_of(self, one: UnownedMachine) -> list[str]:
        """What goes with the machine. Of an instance that lives nothing but what is attached to this one."""
        if one.instance_id is None or not isinstance(self._compute, SupportsVolumes):
            return []
        installation_id = await self._rows.installation_id()
        volumes = await self._compute.list_volumes(installation_id, one.instance_id, one.zone)
        is_all = one.reason is not UnownedReason.SURPLUS
        return [
            volume.provider_volume_id
            for volume in volumes
            if volume.delete_on_terminate and (is_all or volume.attached_to == one.provider_instance_id)
        ]

    async def _without_volumes(self, one: UnownedMachine, volumes: list[str]) -> bool:
        if not isinstance(self._compute, SupportsVolumes):
            return True
        for volume_id in volumes:
            await self._compute.delete_volume(volume_id, one.zone)
        ends = [await self._compute.volume_ended(volume_id, one.zone) for volume_id in volumes]
        return None not in ends

    def _note_foreign(self, queue: str, foreign: int) -> None:
        """Only the turns are logged."""
        if foreign and not self._shows_foreign:
            logger.error(
                "the list of %s shows machines that do not carry our tag, which are left alone: %d", queue, foreign
            )
        self._shows_foreign = foreign > 0


class ListingActivities:
    """What becomes of a list that no worker of its provider came to the end of."""

    def __init__(self, rows: UnownedMachines) -> None:
        self._rows = rows

    @activity.defn
    async def note_listing_failed(self, failed: FailedListing) -> None:
        """Raises ServiceUnavailable while the database is away."""
        await note_failed_listing(self._rows, failed.provider_queue, failed.error_code)


async def note_failed_listing(rows: UnownedMachines, queue: str, error_code: str) -> None:
    if await rows.failed(queue, error_code):
        logger.error(
            "the machines of %s cannot be listed (%s): what runs there and belongs to nobody is not seen until then",
            queue, error_code,
        )  # fmt: skip
