"""What the cloud does: it makes, changes and ends machines, and lets time pass.

    BUILD -> ACTIVE -> DELETING -> DELETED        SHUTOFF: stopped out of band
    BUILD -> ERROR                                REBUILD -> ACTIVE: a reinstall
    ACTIVE -> PREEMPTED -> DELETED                DELETING is reached from every state that exists

The meter of a machine runs from its first ACTIVE until it is gone or preempted; a machine that never became ACTIVE costs
nothing. Every change and the moment of the next one are committed together, so a restart finds its way.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from simcloud.catalogue import TYPES_BY_CODE, VOLUME_PRICE_EUR_PER_GB_HOUR, Offers
from simcloud.clock import Clock
from simcloud.database import Database
from simcloud.errors import Contradiction, Missing, OutOfCapacity
from simcloud.faults import Effects, Kind
from simcloud.machines import Machine, Machines, Status
from simcloud.volumes import Volume, Volumes

NO_EFFECTS = Effects()


@dataclass(frozen=True)
class Pace:
    """How long the cloud takes, in seconds."""

    build_s: float = 0.5
    rebuild_s: float = 0.5
    delete_s: float = 0.5
    preempted_shown_s: float = 5.0


@dataclass(frozen=True)
class Order:
    """A machine somebody asks for."""

    name: str
    zone: str
    type: str
    tags: list[str]
    user_data: str
    data_volume_gb: int = 0
    keep_data_volume: bool = False


class Start(StrEnum):
    FRESH = "fresh"  # a new disk: nobody has lived here before
    AGAIN = "again"  # the agent is started again on the disk it has
    RESUMED = "resumed"  # the cloud itself was restarted: whatever the agent did, it goes on doing


class Tenants(Protocol):
    """Who lives on the machines. Told inside the transaction that changes the machine, so that both are stored or neither."""

    def machine_up(self, machine: Machine, start: Start) -> None: ...

    def machine_down(self, machine_id: str, *, gone: bool) -> None: ...


class Cloud:
    def __init__(self, database: Database, clock: Clock, pace: Pace, tenants: Tenants) -> None:
        self._database = database
        self._clock = clock
        self._pace = pace
        self._tenants = tenants
        self.machines = Machines(database)
        self.volumes = Volumes(database)
        self.offers = Offers(database)

    def resume(self) -> None:
        """After a start: whoever lived on a running machine lives on."""
        for machine in self.machines.in_status(Status.ACTIVE):
            self._tenants.machine_up(machine, Start.RESUMED)

    def create(self, order: Order, effects: Effects = NO_EFFECTS) -> Machine:
        """A new machine, every time. Raises Rejected, OutOfCapacity."""
        offer = self.offers.get(order.type, order.zone)
        if Kind.NO_CAPACITY in effects or not offer.is_available or self.offers.free(offer) == 0:
            raise OutOfCapacity(f"no {order.type} is free in zone {order.zone}")
        now = self._clock.now()
        machine = Machine(
            id=f"sim-{secrets.token_hex(10)}",
            name=order.name,
            zone=order.zone,
            type=order.type,
            status=Status.BUILD,
            tags=order.tags,
            user_data=order.user_data,
            price_eur_per_hour=offer.price_eur_per_hour,
            created_at=now,
            visible_at=now + (effects.seconds(Kind.HIDDEN, "lag_s") or 0.0),
            preempt_after_s=effects.seconds(Kind.PREEMPTED, "delay_s"),
            agent_delay_s=effects.seconds(Kind.SLOW_AGENT, "delay_s") or 0.0,
        )
        if Kind.STUCK not in effects:
            machine.next_status = Status.ERROR if Kind.BUILD_ERROR in effects else Status.ACTIVE
            machine.next_at = now + (effects.seconds(Kind.SLOW_BUILD, "delay_s") or self._pace.build_s)
        with self._database.transaction():
            self.machines.add(machine)
            self._add_volumes(machine, order)
        return machine

    def existing(self, machine_id: str) -> Machine:
        """Raises Missing for a machine that is gone or never was; one that is only hidden is found."""
        machine = self.machines.get(machine_id)
        if machine is None or machine.ended_at is not None:
            raise Missing(f"there is no machine {machine_id}")
        return machine

    def visible(self, machine_id: str) -> Machine:
        """Raises Missing also for a machine that the API does not show yet."""
        machine = self.existing(machine_id)
        if machine.visible_at > self._clock.now():
            raise Missing(f"there is no machine {machine_id}")
        return machine

    def delete(self, machine_id: str, effects: Effects = NO_EFFECTS) -> Machine:
        """Begin the end of a machine. A second call changes nothing."""
        machine = self.existing(machine_id)
        if Kind.IGNORED in effects or machine.status in (Status.DELETING, Status.PREEMPTED):
            return machine
        with self._database.transaction():
            if Kind.VOLUME_LEFT in effects:
                self.volumes.detach(machine.id)
            machine.end_reason = "deleted"
            self._schedule(machine, Status.DELETING, Status.DELETED, self._pace.delete_s)
        self._tenants.machine_down(machine.id, gone=True)
        return machine

    def reinstall(
        self, machine_id: str, user_data: str, tags: list[str] | None, effects: Effects = NO_EFFECTS
    ) -> Machine:
        """A fresh disk and new user data on the same machine. Raises Contradiction unless it is ACTIVE, SHUTOFF or ERROR."""
        machine = self.existing(machine_id)
        if machine.status not in (Status.ACTIVE, Status.SHUTOFF, Status.ERROR):
            raise Contradiction(f"a machine in {machine.status} cannot be reinstalled")
        if Kind.IGNORED in effects:
            return machine
        with self._database.transaction():
            machine.user_data, machine.error = user_data, None
            self._schedule(machine, Status.REBUILD, Status.ACTIVE, self._pace.rebuild_s)
            if tags is not None:
                self.machines.retag(machine, tags)
        self._tenants.machine_down(machine.id, gone=False)
        return machine

    def restart_agent(self, machine_id: str, user_data: str, effects: Effects = NO_EFFECTS) -> Machine:
        """Run the agent anew with new user data; the disk stays. Raises Contradiction unless the machine is ACTIVE."""
        machine = self.existing(machine_id)
        if machine.status is not Status.ACTIVE:
            raise Contradiction(f"a machine in {machine.status} runs no agent")
        if Kind.IGNORED in effects:
            return machine
        with self._database.transaction():
            machine.user_data = user_data
            self.machines.save(machine)
            self._tenants.machine_down(machine.id, gone=False)
            self._tenants.machine_up(machine, Start.AGAIN)
        return machine

    def stop(self, machine_id: str) -> Machine:
        """Switch it off, out of band: still there, still billed."""
        machine = self.existing(machine_id)
        if machine.status is not Status.ACTIVE:
            raise Contradiction(f"a machine in {machine.status} cannot be stopped")
        self._schedule(machine, Status.SHUTOFF, None, 0.0)
        self._tenants.machine_down(machine.id, gone=False)
        return machine

    def vanish(self, machine_id: str) -> Machine:
        """End it now, out of band, as if somebody had deleted it by hand."""
        machine = self.existing(machine_id)
        machine.end_reason = "vanished"
        self._enter(machine, Status.DELETED)
        return machine

    def preempt(self, machine_id: str) -> Machine:
        machine = self.existing(machine_id)
        if machine.status in (Status.DELETING, Status.PREEMPTED):
            raise Contradiction(f"a machine in {machine.status} cannot be preempted")
        self._enter(machine, Status.PREEMPTED)
        return machine

    def delete_volume(self, volume_id: str, effects: Effects = NO_EFFECTS) -> Volume:
        """Raises Missing, and Contradiction while a machine uses it."""
        volume = self.volumes.get(volume_id)
        if volume is None or volume.billed_until is not None:
            raise Missing(f"there is no volume {volume_id}")
        if volume.attached_to is not None:
            raise Contradiction(f"volume {volume_id} is attached")
        if Kind.IGNORED not in effects:
            self.volumes.end(volume_id, self._clock.now())
        return volume

    def advance(self) -> int:
        """Let happen what is due by now. Returns how many machines changed."""
        due = self.machines.due(self._clock.now())
        for machine in due:
            if machine.next_status is not None:
                self._enter(machine, machine.next_status)
        return len(due)

    def _enter(self, machine: Machine, status: Status) -> None:
        enter: dict[Status, Callable[[Machine, float], None]] = {
            Status.ACTIVE: self._activate,
            Status.ERROR: self._fail,
            Status.PREEMPTED: self._take_back,
            Status.DELETED: self._end,
        }
        enter[status](machine, self._clock.now())

    def _activate(self, machine: Machine, now: float) -> None:
        machine.billed_from = machine.billed_from or now
        preemption = Status.PREEMPTED if machine.preempt_after_s is not None else None
        with self._database.transaction():
            self._schedule(machine, Status.ACTIVE, preemption, machine.preempt_after_s or 0.0)
            self._tenants.machine_up(machine, Start.FRESH)

    def _fail(self, machine: Machine, _now: float) -> None:
        machine.error = "the build failed"
        self._schedule(machine, Status.ERROR, None, 0.0)

    def _take_back(self, machine: Machine, now: float) -> None:
        machine.end_reason = "preempted"
        if machine.billed_from is not None:
            machine.billed_until = now
        self._schedule(machine, Status.PREEMPTED, Status.DELETED, self._pace.preempted_shown_s)
        self._tenants.machine_down(machine.id, gone=True)

    def _end(self, machine: Machine, now: float) -> None:
        with self._database.transaction():
            machine.ended_at = now
            if machine.billed_from is not None:
                machine.billed_until = machine.billed_until or now
            machine.user_data = ""
            self._schedule(machine, Status.DELETED, None, 0.0)
            self.volumes.machine_gone(machine.id, now)
        self._tenants.machine_down(machine.id, gone=True)

    def _schedule(self, machine: Machine, status: Status, then: Status | None, after_s: float) -> None:
        machine.status, machine.next_status = status, then
        machine.next_at = None if then is None else self._clock.now() + after_s
        self.machines.save(machine)

    def _add_volumes(self, machine: Machine, order: Order) -> None:
        boot_gb = TYPES_BY_CODE[order.type].boot_volume_gb
        for role, size_gb in (("boot", boot_gb), ("data", order.data_volume_gb)):
            if size_gb == 0:
                continue
            self.volumes.add(
                Volume(
                    id=f"vol-{secrets.token_hex(10)}",
                    name=f"{machine.name}-{role}",
                    zone=machine.zone,
                    volume_type="block",
                    size_gb=size_gb,
                    is_boot=role == "boot",
                    delete_on_terminate=role == "boot" or not order.keep_data_volume,
                    made_for=machine.id,
                    attached_to=machine.id,
                    tags=machine.tags,
                    price_eur_per_hour=str(Decimal(size_gb) * VOLUME_PRICE_EUR_PER_GB_HOUR),
                    created_at=machine.created_at,
                )
            )
