"""What travels between the instance's owner and its activities. Ids and states; nothing private (DESIGN rule 8)."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel

from models.contracts.owners import AppliedTo, OwnedSnapshot, OwnerProjection, OwnerState
from models.domain.fleet.instances.machines import Ended, Machine, MachineSpec, Volume
from models.domain.fleet.instances.progress import Step
from models.domain.fleet.instances.state import (
    STARTING_UP,
    AgentPhase,
    AgentStatus,
    DesiredStatus,
    Edge,
    InstanceStatus,
    OnUnavailable,
)


class InstanceInput(OwnerState):
    """How an owner starts, and what it carries across continue-as-new. Everything else it reads from its row."""

    instance_id: UUID
    organization_id: UUID
    handled: list[UUID] = []
    """Of runs that began before commands were hints: operations that they had heard of. Nothing adds to it any more."""
    is_doubted: bool = False
    """Whether the machine is to be looked at, since its agent has not been heard of where it should have been."""
    sent_generation: int = 0
    """The boot that this owner is known to have had sent to the provider; 0: it does not know of any."""
    removal_began_at: datetime | None = None
    """When a removal first looked for machines: from then on no create was on its way from this owner."""
    removal_rounds: int = 0
    """Rounds spent on removing the machine so far: the pause between two of them grows with it."""
    has_put_on_record: bool = False
    """Whether a round of removal has only put on record what it found: the first one does."""
    leftovers_removed: bool = False
    """Whether it is verified that a failed create left nothing."""
    is_alarm_raised: bool = False
    """Whether people have been told that this removal takes long."""


class Observed(BaseModel):
    """Signal: the node agent changed in a way that matters. The liveness row says how things stand now."""

    edge: Edge
    boot_id: str | None = None
    generation: int = 0


class InstanceKey(BaseModel):
    instance_id: UUID
    organization_id: UUID


class LivenessView(BaseModel):
    generation: int
    boot_id: str | None = None
    worker_status: AgentStatus | None = None
    phase: AgentPhase | None = None
    slots_busy: int = 0
    queue_depth: int = 0
    registered_at: datetime | None = None
    last_heartbeat_at: datetime | None = None
    is_stale: bool = False


class InstanceSnapshot(OwnedSnapshot):
    """The row, its agent's liveness and its open operations at one moment, with the limits that apply to it."""

    status: InstanceStatus
    desired_status: DesiredStatus = DesiredStatus.READY
    generation: int = 1
    compute_queue: str
    zone_code: str = ""
    zones_tried: list[str] = []
    """Zones without capacity, of an order that names none."""
    zones_left: list[str] = []
    """Zones of the same offer that nothing was sent to yet, the next one first."""
    machine_spec: MachineSpec | None = None
    create_attempted_at: datetime | None = None
    is_nothing_created: bool = False
    provider_instance_id: str | None = None
    has_address: bool = True
    """Of this boot: after a restart the machine may serve on another port."""
    completed_steps: list[Step] = []
    boot_started_at: datetime | None = None
    ready_at: datetime | None = None
    error_code: str | None = None
    heal_attempts: int = 0
    on_unavailable: OnUnavailable = OnUnavailable.RESTART_AGENT
    startup_timeout_s: float
    drain_timeout_s: float
    stale_s: float
    unavailable_wait_s: float
    liveness: LivenessView | None = None
    billed_machines: list[str] = []
    """Machines whose bill is open; told of an instance that is being removed."""
    known_volumes: list[str] = []
    """Volumes that the instance has or had; told when the machines are."""
    doomed_volumes: list[str] = []
    """Those of them that go with the instance and are not known to be gone."""

    def awaits_create(self, generation: int, zone: str) -> bool:
        """Whether the instance is at the step at which its machine is created in that zone."""
        is_wanting = self.status is InstanceStatus.PROVISIONING and self.provider_instance_id is None
        is_there = self.machine_spec is not None and self.machine_spec.zone == zone
        return is_wanting and is_there and self.generation == generation

    def awaits_restart(self, generation: int) -> bool:
        """Whether the instance is at the boot that a restart of its machine begins."""
        return self.status in STARTING_UP and self.generation == generation

    def told_moments(self) -> tuple[datetime | None, ...]:
        heard_at = self.liveness.last_heartbeat_at if self.liveness else None
        return self.create_attempted_at, self.boot_started_at, self.ready_at, heard_at


class Projection(OwnerProjection):
    """A change of an instance's row by its owner."""

    key: InstanceKey
    status: InstanceStatus | None = None
    reason: str | None = None
    steps: list[Step] = []
    mark_silent: bool = False
    """The agent has said nothing for too long: only its next heartbeat makes it count as alive again."""
    begin_boot: bool = False
    """A new boot of the same machine: the next generation, its tokens, the steps of the agent from the start."""
    least_generation: int | None = None
    """Of the boot that begins: the machine has been booted with generations that the row does not know of."""
    no_capacity_in: str | None = None
    """The zone that has no capacity: the row goes on to the next one, where it stands in this one and there is a next."""
    machine: Machine | None = None
    """Its zone is the row's from then on: an unanswered create may have made it in another one than the last."""
    found: list[Machine] = []
    volumes: list[Volume] = []
    ended: list[Ended] = []
    error_code: str | None = None
    error_message: str | None = None
    clear_error: bool = False
    deletion_reason: str | None = None
    deleted_by_provider: bool = False
    heal_attempts: int | None = None


class Applied(AppliedTo[InstanceSnapshot]):
    """Of a projection."""


class Frozen(Applied):
    """`fresh`: the spec was written by this very call. A repeat of the call, or another owner, finds it there."""

    fresh: bool = False


class CreateMachine(BaseModel):
    """`fresh`: this owner recorded the first attempt itself, so before the activity's first try nothing was ever sent.

    That holds for the owner's own run, `run_id`: in a run that was reset, or made up, the same words are a repetition.
    """

    spec: MachineSpec
    generation: int
    fresh: bool = False
    run_id: str | None = None


class MachineRef(BaseModel):
    """A machine, and how long an activity may watch it before it reports back."""

    installation_id: UUID
    instance_id: UUID
    provider_instance_id: str
    zone: str
    timeout_s: float = 60.0


class MachineReport(BaseModel):
    """A machine as its provider describes it, with the volumes that came with it; no machine when it does not exist."""

    machine: Machine | None = None
    volumes: list[Volume] = []


class BootMachine(BaseModel):
    WIRE_NAME: ClassVar = "RestartAgent"

    spec: MachineSpec
    generation: int
    provider_instance_id: str
    agent_only: bool = False


class RemoveMachine(BaseModel):
    """Remove whatever carries the instance's tag. `provider_instance_id` is what is known for sure, if anything."""

    installation_id: UUID
    instance_id: UUID
    zone: str
    other_zones: list[str] = []
    """Where else something of the instance may be: zones that an order was sent to before."""
    provider_instance_id: str | None = None
    silent_since: datetime | None = None
    """Since when nothing can have been sent to create a machine, by the clock of the workflow.

    None where nothing ever was, or it was refused.
    """
    silent_s: float = 0.0
    """How long that was when this round was ordered."""
    recorded: list[str] = []
    """Machines whose bill is open in the ledger: the end of each is asked for, also when no list shows it any more."""
    recorded_volumes: list[str] = []
    """The volumes on record: one that is not is reported before anything is deleted."""
    doomed_volumes: list[str] = []
    """Of the recorded ones those whose end is asked for, also when no list shows them: most go with their machine."""


class Removal(BaseModel):
    """How far one round of removal came."""

    machines_left: int
    volumes_left: int
    ended: list[Ended] = []
    found: list[Machine] = []
    """Machines seen on the way: one that a lost create made has a bill too."""
    volumes: list[Volume] = []
    error_code: str | None = None
    error_message: str | None = None
    is_unseen: bool = False
    """Nothing was found, and a create that was under way may still make something: what is left is not known to exist."""
    is_for_the_record: bool = False
    """Nothing was touched yet: what was found is to be put on record first."""

    @property
    def is_gone(self) -> bool:
        """Verified."""
        return not self.machines_left and not self.volumes_left


class AwaitDrained(BaseModel):
    key: InstanceKey
    timeout_s: float
