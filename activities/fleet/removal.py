"""A round of removal at a provider: does what the plan says, and keeps what people and the ledger are to learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.base.errors import AppError
from models.contracts.fleet.instances import Removal, RemoveMachine
from models.domain.fleet.removal.plan import Ask, Look, Plan, Verdict
from models.domain.fleet.removal.things import Record, Shown, Thing, ThingKind
from models.ports.compute import Ended, Machine, SupportsVolumes, Volume

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from models.ports.compute import ComputePort

M, V = ThingKind.MACHINE, ThingKind.VOLUME


def record_of(request: RemoveMachine) -> Record:
    """What the owner's order says of the instance."""
    machines = {Thing(M, one) for one in request.recorded}
    known = {Thing(M, request.provider_instance_id)} if request.provider_instance_id else set()
    return Record(
        zone=request.zone,
        recorded=frozenset(machines | {Thing(V, one) for one in request.recorded_volumes}),
        doomed=frozenset(machines | known | {Thing(V, one) for one in request.doomed_volumes}),
        silent_s=None if request.silent_since is None else request.silent_s,
    )


class RemovalRound:
    """Removes whatever carries the instance's tag. Refusals are reported, not raised: the owner begins the next round."""

    def __init__(self, compute: ComputePort, request: RemoveMachine, *, settle_s: float) -> None:
        self._compute, self._request = compute, request
        kinds = frozenset({M, V} if isinstance(compute, SupportsVolumes) else {M})
        self._plan = Plan(record=record_of(request), kinds=kinds, settle_s=settle_s)
        self._machines: dict[str, Machine] = {}
        self._volumes: dict[str, Volume] = {}
        self._ended: dict[str, Ended] = {}
        self._refused: AppError | None = None

    async def once(self, watched_s: float) -> Removal:
        """One pass, so long after the round began. Raises what ComputePort.find raises."""
        self._plan, self._refused = self._plan.passing(watched_s), None
        while not isinstance(step := self._plan.next(), Verdict):
            if isinstance(step, Look):
                shown, refusal = await self._look(step.kind)
                self._plan = self._plan.looked(step.kind, shown, is_complete=refusal is None)
            else:
                self._plan = self._plan.answered(step, is_gone=await self._is_gone(step))
        return self._reported(step)

    async def _look(self, kind: ThingKind) -> tuple[list[Shown], AppError | None]:
        """A list of volumes that is refused keeps no machine alive: what matters most is removed all the same. Until volumes are
        what is left, people are told of other things.
        """
        shown: list[Shown] = []
        if kind is M:
            found = await self._compute.find(self._request.installation_id, self._request.instance_id)
            self._machines |= {machine.provider_instance_id: machine for machine in found}
            return [_shown_machine(machine) for machine in found], None
        try:
            async for volume in self._listed_volumes():
                self._volumes[volume.provider_volume_id] = volume
                shown.append(_shown_volume(volume, self._request.zone))
        except AppError as error:
            if self._plan.stage > 0:
                self._refused = error
            return shown, error
        return shown, None

    async def _listed_volumes(self) -> AsyncIterator[Volume]:
        if not isinstance(self._compute, SupportsVolumes):
            return
        request = self._request
        for zone in dict.fromkeys([request.zone, *request.other_zones]):
            for volume in await self._compute.list_volumes(request.installation_id, request.instance_id, zone):
                yield volume.model_copy(update={"zone": zone})

    async def _is_gone(self, ask: Ask) -> bool:
        try:
            proof = await self._proof(ask)
        except AppError as error:
            self._refused = error
            return False
        if proof is not None:
            self._ended[ask.thing.id] = proof
        return proof is not None

    async def _proof(self, ask: Ask) -> Ended | None:
        target, compute = ask.thing.id, self._compute
        if ask.thing.kind is M:
            if ask.deletes:
                await compute.delete(target, ask.zone)
            return await compute.ended(target, ask.zone)
        if not isinstance(compute, SupportsVolumes):
            return None
        if ask.deletes:
            await compute.delete_volume(target, ask.zone)
        return await compute.volume_ended(target, ask.zone)

    def _reported(self, verdict: Verdict) -> Removal:
        machines_left = verdict.left.get(M, 0)
        is_for_the_record = bool(verdict.off_record)
        told = {thing.id for thing in verdict.off_record} or self._machines.keys() | self._volumes.keys()
        return Removal(
            machines_left=machines_left,
            volumes_left=sum(verdict.left.values()) - machines_left,
            ended=list(self._ended.values()),
            found=[one for key, one in self._machines.items() if key in told],
            volumes=[one for key, one in self._volumes.items() if key in told],
            error_code=self._refused.code if self._refused and not is_for_the_record else None,
            error_message=self._refused.message if self._refused and not is_for_the_record else None,
            is_unseen=verdict.is_unseen,
            is_for_the_record=is_for_the_record,
        )


def _shown_machine(machine: Machine) -> Shown:
    thing = Thing(M, machine.provider_instance_id)
    return Shown(thing=thing, zone=machine.zone, is_billed=machine.billed_from is not None)


def _shown_volume(volume: Volume, zone: str) -> Shown:
    return Shown(
        thing=Thing(V, volume.provider_volume_id),
        zone=volume.zone or zone,
        is_billed=volume.billed_from is not None,
        is_doomed=volume.delete_on_terminate,
    )
