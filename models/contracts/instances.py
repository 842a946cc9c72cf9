"""What travels between the instance's owner and its activities. Ids and states; nothing private (DESIGN rule 8)."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from models.domain.instances.holds import HoldCode
from models.domain.instances.machines import Ended, Machine, MachineSpec, Volume
from models.domain.instances.progress import Step
from models.domain.instances.state import (
    STARTING_UP,
    AgentPhase,
    DesiredStatus,
    Edge,
    InstanceStatus,
    OnUnavailable,
    WorkerStatus,
)
from models.domain.operations import OperationKind, OperationStatus


class Held(BaseModel):
    """What stands in an owner's way, and since when, by the clock of its workflow (DESIGN rule 7)."""

    code: HoldCode
    since: datetime


class InstanceInput(BaseModel):
    """How an owner starts, and what it carries across continue-as-new. Everything else it reads from its row."""

    instance_id: UUID
    organization_id: UUID
    handled: list[UUID] = []
    """Operation ids of commands already heard, newest last."""
    removal_began_at: datetime | None = None
    """When a removal first looked for machines: from then on no create was on its way from this owner."""
    removal_rounds: int = 0
    """Rounds spent on removing the machine so far: the pause between two of them grows with it."""
    is_alarm_raised: bool = False
    """Whether people have been told that this removal takes long."""
    held: Held | None = None
    """What it holds for: it is to be said as long as it lasts, also when the row cannot be written."""


class Command(BaseModel):
    """Signal: an operation on this instance was committed. The row says what it is."""

    operation_id: UUID


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
    worker_status: WorkerStatus | None = None
    phase: AgentPhase | None = None
    slots_busy: int = 0
    queue_depth: int = 0
    registered_at: datetime | None = None
    last_heartbeat_at: datetime | None = None
    is_stale: bool = False


class OpenOperation(BaseModel):
    id: UUID
    kind: OperationKind
    status: OperationStatus


class InstanceSnapshot(BaseModel):
    """The row, its agent's liveness and its open operations at one moment, with the limits that apply to it."""

    status: InstanceStatus
    desired_status: DesiredStatus = DesiredStatus.READY
    version: int
    generation: int = 1
    compute_queue: str
    zone_code: str = ""
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
    held: Held | None = None
    heal_attempts: int = 0
    on_unavailable: OnUnavailable = OnUnavailable.RESTART_AGENT
    startup_timeout_s: float
    drain_timeout_s: float
    stale_s: float
    unavailable_wait_s: float
    liveness: LivenessView | None = None
    operations: list[OpenOperation] = []
    billed_machines: list[str] = []
    """Machines whose bill is open; told of an instance that is being removed."""
    known_volumes: list[str] = []
    """Volumes that the instance has or had; told when the machines are."""
    doomed_volumes: list[str] = []
    """Those of them that go with the instance and are not known to be gone."""

    def awaits_create(self, generation: int) -> bool:
        """Whether the instance is at the step at which its machine is created."""
        is_wanting = self.status is InstanceStatus.PROVISIONING and self.provider_instance_id is None
        return is_wanting and self.generation == generation

    def awaits_restart(self, generation: int) -> bool:
        """Whether the instance is at the boot that a restart of its machine begins."""
        return self.status in STARTING_UP and self.generation == generation

    def open_operation(self, kind: OperationKind) -> OpenOperation | None:
        return next((operation for operation in self.operations if operation.kind is kind), None)


class OperationChange(BaseModel):
    """The end, or the beginning, of operations of a kind.

    `ids` are those that the owner knew when it decided; one asked for in between stays open and is the owner's next news.
    None means every open one: at the end of an instance nothing may stay open.
    """

    kind: OperationKind
    status: OperationStatus
    ids: list[UUID] | None = None
    error_code: str | None = None
    error_message: str | None = None


class ActionNote(BaseModel):
    """One line for the action log (contract/fleet.md 11.1)."""

    action_type: str
    failed: bool = False
    started_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    details: dict[str, str | int | float | bool | None] = {}


class Waiting(BaseModel):
    """What the instance waits for, in words for people (DESIGN rule 7)."""

    on: str
    until: datetime | None = None


class Projection(BaseModel):
    """A change of the row by its owner. Applied once: `projection_id` tells a repeat, `expected_version` a rival."""

    key: InstanceKey
    projection_id: UUID
    expected_version: int
    status: InstanceStatus | None = None
    reason: str | None = None
    steps: list[Step] = []
    waiting: Waiting | None = None
    keeps_waiting: bool = False
    """What the instance waits for stays as it is: the change is about something else."""
    held: Held | None = None
    """What the owner holds for now; None for one that is not held, and from a worker that does not know of holds."""
    mark_silent: bool = False
    """The agent has said nothing for too long: only its next heartbeat makes it count as alive again."""
    begin_boot: bool = False
    """A new boot of the same machine: the next generation, its tokens, the steps of the agent from the start."""
    machine: Machine | None = None
    found: list[Machine] = []
    volumes: list[Volume] = []
    ended: list[Ended] = []
    error_code: str | None = None
    error_message: str | None = None
    clear_error: bool = False
    deletion_reason: str | None = None
    deleted_by_provider: bool = False
    heal_attempts: int | None = None
    operations: list[OperationChange] = []
    actions: list[ActionNote] = []


class Applied(BaseModel):
    """`applied` is False when somebody else changed the row first: the snapshot is what stands now."""

    applied: bool
    snapshot: InstanceSnapshot


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


class RestartAgent(BaseModel):
    spec: MachineSpec
    generation: int
    provider_instance_id: str
    agent_only: bool = False


class RemoveMachine(BaseModel):
    """Remove whatever carries the instance's tag. `provider_instance_id` is what is known for sure, if anything."""

    installation_id: UUID
    instance_id: UUID
    zone: str
    provider_instance_id: str | None = None
    silent_since: datetime | None = None
    """Since when nothing can have been sent to create a machine; None where nothing ever was, or it was refused."""
    recorded: list[str] = []
    """Machines whose bill is open in the ledger: the end of each is asked for, also when no list shows it any more."""
    recorded_volumes: list[str] = []
    """The volumes on record: one that is not is reported before anything is deleted."""
    doomed_volumes: list[str] = []
    """Of the recorded ones those whose end is asked for, also when no list shows them: most go with their machine."""


class Removal(BaseModel):
    """How far one round of removal came. `machines_left` and `volumes_left` both zero: gone, verified."""

    machines_left: int
    volumes_left: int
    ended: list[Ended] = []
    found: list[Machine] = []
    """Machines seen on the way: one that a lost create made has a bill too."""
    volumes: list[Volume] = []
    error_code: str | None = None
    error_message: str | None = None
    is_for_the_record: bool = False
    """Nothing was touched yet: what was found is to be put on record first."""


class AwaitDrained(BaseModel):
    key: InstanceKey
    timeout_s: float
