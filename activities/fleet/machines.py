"""The machine behind an instance, at its provider. Registered once per provider, on that provider's queue."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from temporalio import activity

from activities.fleet.removal import RemovalRound
from activities.runtime.crash import crash_point, crash_points
from activities.runtime.heartbeat import Heartbeat
from models.base.errors import AppError, Conflict, ProviderRejected, ProviderUnavailable
from models.contracts.fleet.instances import (
    BootMachine,
    CreateMachine,
    InstanceKey,
    InstanceSnapshot,
    MachineRef,
    MachineReport,
    Removal,
    RemoveMachine,
)
from models.domain.fleet.instances.credentials import bootstrap_token
from models.ports.compute import (
    BootData,
    Machine,
    MachineSpec,
    MachineState,
    SupportsAgentRestart,
    SupportsReinstall,
    SupportsVolumes,
    Volume,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from models.ports.compute import ComputePort
    from models.repositories.fleet.instances.rows import InstanceRows

FIRST_POLL_S = 0.2
SLOWEST_POLL_S = 5.0
REMOVAL_ROUND_S = 45.0
"""A round of removal watches for so long, then reports to the owner what is still there."""
SETTLE_S = 45.0
"""Seconds from the beginning of a removal during which "no machine found" is not believed: longer than the adapters' HTTP
time-out (30 s) and the documented consistency windows together need. It only delays a removal whose machine is unknown."""


class MachineActivities:
    """Side effects at one provider. Every call may be repeated after a crash at any line (DESIGN rule 5).

    What rents a machine or boots one anew looks at the row first: an order of another time, repeated by somebody who reaches
    Temporal or by a workflow that was reset, must not make a machine that no owner waits for.
    """

    def __init__(
        self,
        compute: ComputePort,
        rows: InstanceRows,
        *,
        installation_key: bytes,
        control_plane_url: str,
        settle_s: float = SETTLE_S,
        round_s: float = REMOVAL_ROUND_S,
    ) -> None:
        self._compute, self._rows = compute, rows
        self._settle_s, self._round_s = settle_s, round_s
        self._installation_key, self._control_plane_url = installation_key, control_plane_url

    @activity.defn
    @crash_points()
    async def create_machine(self, request: CreateMachine) -> Machine:
        """Find or create the machine of the frozen spec. Raises what ComputePort.create raises, and Conflict where the row does
        not wait for it.

        `details["first_attempt"]` of an error says whether anything can have been sent before.
        """
        boot = self._boot(request.spec, request.generation)
        first = request.fresh and request.run_id == activity.info().workflow_run_id and _is_first_attempt()
        async with Heartbeat():
            if not (await self._row(request.spec)).awaits_create(request.generation, request.spec.zone):
                raise Conflict("the instance does not wait for a machine", code="STEP_IS_OVER")
            crash_point("create_machine", "before_call")
            try:
                machine = await self._compute.create(request.spec, boot, first_attempt=first)
            except AppError as error:
                error.details["first_attempt"] = first
                raise
            crash_point("create_machine", "after_call")
        return machine

    @activity.defn
    @crash_points()
    async def await_machine(self, ref: MachineRef) -> MachineReport:
        """The machine once it runs and has an address, or has failed; none once the provider says that it does not exist.

        After `timeout_s` the machine as it is. A machine that its provider does not show yet is waited for.
        """
        deadline_s = time.monotonic() + ref.timeout_s
        async with Heartbeat():
            crash_point("await_machine", "before_call")
            machine = await self._poll(lambda: self._settled(ref), until_s=deadline_s)
            if machine is None:
                machine = await self._compute.describe(ref.provider_instance_id, ref.zone)
            volumes: list[Volume] = []
            if machine is not None and isinstance(self._compute, SupportsVolumes):
                volumes = await self._compute.list_volumes(ref.installation_id, ref.instance_id, ref.zone)
            crash_point("await_machine", "after_call")
        return MachineReport(machine=machine, volumes=volumes)

    @activity.defn
    async def describe_machine(self, ref: MachineRef) -> Machine | None:
        """The machine now, or None when it does not exist. One look."""
        async with Heartbeat():
            return await self._compute.describe(ref.provider_instance_id, ref.zone)

    @activity.defn
    @crash_points()
    async def restart_machine(self, request: BootMachine) -> Machine:
        """A boot of the machine with the data of `generation`: a reinstall, or a restart of its agent. Histories have its name.

        Raises ProviderRejected where the provider can do neither, Conflict where the row does not wait for it.
        """
        boot = self._boot(request.spec, request.generation)
        zone, provider_id = request.spec.zone, request.provider_instance_id
        async with Heartbeat():
            if not (await self._row(request.spec)).awaits_restart(request.generation):
                raise Conflict("the instance does not wait for this boot", code="STEP_IS_OVER")
            crash_point("restart_machine", "before_call")
            if request.agent_only and isinstance(self._compute, SupportsAgentRestart):
                await self._compute.restart_agent(provider_id, zone, boot)
                machine = await self._compute.describe(provider_id, zone)
            elif isinstance(self._compute, SupportsReinstall):
                machine = await self._compute.reinstall(provider_id, request.spec, boot)
            else:
                raise ProviderRejected("this provider cannot reinstall a machine", code="REINSTALL_NOT_SUPPORTED")
            crash_point("restart_machine", "after_call")
        if machine is None:
            raise ProviderUnavailable("the machine is not shown after its restart", retry_after_s=SLOWEST_POLL_S)
        return machine

    @activity.defn
    @crash_points()
    async def remove_machine(self, request: RemoveMachine) -> Removal:
        """One round of removing whatever carries the instance's tag, until verified gone or the round's time is over.

        Refusals are reported, not raised: the owner never gives up, it begins the next round. A machine or volume that is billed
        and not on record is reported before anything is touched: once it is gone, nobody could say how long it was billed.
        """
        began_s = time.monotonic()
        removing = RemovalRound(self._compute, request, settle_s=self._settle_s)
        pause_s = FIRST_POLL_S
        async with Heartbeat():
            while True:
                crash_point("remove_machine", "before_call")
                watched_s = time.monotonic() - began_s
                removal = await removing.once(watched_s)
                if removal.is_for_the_record:
                    return removal
                crash_point("remove_machine", "after_call")
                if removal.is_gone or watched_s >= self._round_s:
                    return removal
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, SLOWEST_POLL_S)

    async def _row(self, spec: MachineSpec) -> InstanceSnapshot:
        key = InstanceKey(instance_id=spec.instance_id, organization_id=spec.organization_id)
        return await self._rows.load(key)

    async def _settled(self, ref: MachineRef) -> Machine | None:
        machine = await self._compute.describe(ref.provider_instance_id, ref.zone)
        if machine is None:
            return None
        is_reachable = machine.host is not None and machine.port is not None
        is_running = machine.state is MachineState.RUNNING and is_reachable
        return machine if is_running or machine.state in (MachineState.FAILED, MachineState.PREEMPTED) else None

    @staticmethod
    async def _poll(look: Callable[[], Awaitable[Machine | None]], *, until_s: float) -> Machine | None:
        pause_s = FIRST_POLL_S
        while (found := await look()) is None:
            if time.monotonic() >= until_s:
                return None
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, SLOWEST_POLL_S)
        return found

    def _boot(self, spec: MachineSpec, generation: int) -> BootData:
        """Boot data, the same at every try: its secret is derived, never stored and never in a payload."""
        return BootData(
            instance_id=spec.instance_id,
            control_plane_url=self._control_plane_url,
            bootstrap_token=bootstrap_token(self._installation_key, spec.instance_id, generation),
            generation=generation,
            model_id=spec.model_id,
            model_code=spec.model_code,
            model_file=spec.model_file,
            slots=spec.slots,
            context_length=spec.context_length,
            heartbeat_interval_s=spec.heartbeat_interval_s,
        )


def _is_first_attempt() -> bool:
    """Not by its number alone: a reset activity counts from one again."""
    info = activity.info()
    return info.attempt == 1 and info.current_attempt_scheduled_time == info.scheduled_time
