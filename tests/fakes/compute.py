"""A provider in memory with a ledger: what exists, what ever existed, and a script of what goes wrong.

It keeps the contract of the port like any adapter: tests/contract/test_fake_compute.py.
"""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from models.base.clock import utc_now
from models.base.errors import AppError, ProviderRejected
from models.domain.fleet.instances.machines import INSTALLED_GENERATION
from models.ports.compute import BootData, Ended, Machine, MachinesPage, MachineSpec, MachineState, Volume

FIRST_PORT = 40_000

Fault = AppError | Callable[[], None]


class Tags(NamedTuple):
    """What is written on a machine or volume of ours."""

    installation_id: UUID
    instance_id: UUID
    zone: str


class FakeCompute:
    """ComputePort, SupportsReinstall, SupportsAgentRestart and SupportsVolumes.

    `script[name]` is a list of faults, taken one per call of that name; a callable runs instead of raising.
    """

    def __init__(self) -> None:
        self.live: dict[str, Machine] = {}
        self.ended_at: dict[str, datetime] = {}
        self.volumes: dict[str, Volume] = {}
        self.kept_elsewhere: set[str] = set()
        """Volumes that exist and bear no tag of ours any more."""
        self.keys: dict[str, str] = {}
        self.created = 0
        self.promises: list[bool] = []
        """Of every create: whether the caller promised that it was the first."""
        self.boots: list[tuple[str, int]] = []
        self.calls: list[str] = []
        self.script: dict[str, list[Fault]] = {}
        self.starts_as = MachineState.RUNNING
        self.keeps_deleted = 0
        self.keys_found = True
        self.hidden_looks = 0
        """So many looks show no address of a machine that was restarted: its agent does not listen yet."""
        self.page = 2
        """So many machines are in one page of a list."""
        self.dead_agents: set[str] | None = None
        """Machines whose agent does not run; None for a provider that cannot tell."""
        self._hidden: dict[str, int] = {}
        self._tags: dict[str, Tags] = {}

    def add_twin(self, twin: Machine, of: str) -> None:
        """A second machine with the tags of that one."""
        self.live[twin.provider_instance_id] = twin
        self._tags[twin.provider_instance_id] = self._tags[of]

    def add_volume(self, volume: Volume) -> None:
        """With the tags of the machine to which it is attached."""
        assert volume.attached_to is not None
        self.volumes[volume.provider_volume_id] = volume
        self._tags[volume.provider_volume_id] = self._tags[volume.attached_to]

    def _call(self, name: str) -> None:
        self.calls.append(name)
        faults = self.script.get(name)
        if faults:
            fault = faults.pop(0)
            if isinstance(fault, AppError):
                raise fault
            fault()

    async def find(self, installation_id: UUID, instance_id: UUID) -> list[Machine]:
        self._call("find")
        found = [
            machine
            for machine_id, machine in self.live.items()
            if self._tags[machine_id][:2] == (installation_id, instance_id)
        ]
        return sorted(found, key=lambda machine: machine.created_at)

    async def create(self, spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        self.calls.append("create")
        self.promises.append(first_attempt)
        known = self.keys.get(spec.machine_key)
        if known in self.live and self.keys_found:
            return self.live[known]
        faults = self.script.get("create")
        fault = faults.pop(0) if faults else None
        if isinstance(fault, AppError) and not fault.details.get("created"):
            raise fault
        machine = self._make(spec)
        self.boots.append((machine.provider_instance_id, boot.generation))
        if isinstance(fault, AppError):
            raise fault
        if fault:
            fault()
        return machine

    def _make(self, spec: MachineSpec) -> Machine:
        self.created += 1
        now = utc_now()
        machine = Machine(
            provider_instance_id=f"fake-{self.created}",
            instance_id=spec.instance_id,
            machine_key=spec.machine_key,
            name=spec.name,
            zone=spec.zone,
            instance_type=spec.instance_type,
            state=self.starts_as,
            created_at=now,
            billed_from=now,
            host="127.0.0.1",
            port=FIRST_PORT + 1,
        )
        self.live[machine.provider_instance_id] = machine
        self.keys[spec.machine_key] = machine.provider_instance_id
        self._tags[machine.provider_instance_id] = Tags(spec.installation_id, spec.instance_id, spec.zone)
        if spec.data_volume_gb:
            self.add_volume(self._data_volume(machine, spec.data_volume_gb))
        return machine

    def _data_volume(self, machine: Machine, size_gb: int) -> Volume:
        return Volume(
            provider_volume_id=f"{machine.provider_instance_id}-data",
            name=f"{machine.name}-data",
            volume_type="ssd",
            size_gb=size_gb,
            is_boot=False,
            delete_on_terminate=True,
            attached_to=machine.provider_instance_id,
            created_at=machine.created_at,
            billed_from=machine.billed_from,
        )

    async def describe(self, provider_instance_id: str, zone: str) -> Machine | None:
        self._call("describe")
        machine = self.live.get(provider_instance_id)
        if machine is not None and self.dead_agents is not None:
            machine = machine.model_copy(update={"is_agent_running": provider_instance_id not in self.dead_agents})
        if machine is not None and self._hidden.get(provider_instance_id, 0) > 0:
            self._hidden[provider_instance_id] -= 1
            return machine.model_copy(update={"host": None, "port": None})
        return machine

    def take_back(self, provider_instance_id: str) -> None:
        """As a provider does with a machine that it needs elsewhere."""
        del self.live[provider_instance_id]
        self.ended_at[provider_instance_id] = utc_now()
        for volume in [each for each in self.volumes.values() if each.attached_to == provider_instance_id]:
            self._volume_gone(volume)

    async def delete(self, provider_instance_id: str, zone: str) -> None:
        self._call("delete")
        if self.keeps_deleted > 0:
            self.keeps_deleted -= 1
        elif self.live.pop(provider_instance_id, None):
            self.ended_at[provider_instance_id] = utc_now()
            for volume in [each for each in self.volumes.values() if each.attached_to == provider_instance_id]:
                self._volume_gone(volume)

    def _volume_gone(self, volume: Volume) -> None:
        """A volume that is attached goes with its machine, unless it is to be kept."""
        if volume.delete_on_terminate:
            del self.volumes[volume.provider_volume_id]
            self.ended_at[volume.provider_volume_id] = utc_now()
        else:
            self.volumes[volume.provider_volume_id] = volume.model_copy(update={"attached_to": None})

    async def ended(self, provider_instance_id: str, zone: str) -> Ended | None:
        if provider_instance_id in self.live:
            return None
        return Ended(provider_id=provider_instance_id, billed_until=self.ended_at.get(provider_instance_id))

    async def list_machines(self, installation_id: UUID, zone: str) -> list[Machine]:
        return [
            machine
            for machine_id, machine in self.live.items()
            if (tags := self._tags[machine_id]).installation_id == installation_id and tags.zone == zone
        ]

    async def page_of_machines(self, installation_id: UUID, cursor: str | None = None) -> MachinesPage:
        self._call("page_of_machines")
        ours = sorted(
            (machine for machine_id, machine in self.live.items() if self._tags[machine_id][0] == installation_id),
            key=lambda machine: machine.provider_instance_id,
        )
        rest = [machine for machine in ours if cursor is None or machine.provider_instance_id > cursor]
        page = rest[: self.page]
        return MachinesPage(machines=page, next_cursor=page[-1].provider_instance_id if len(rest) > self.page else None)

    async def reinstall(self, provider_instance_id: str, spec: MachineSpec, boot: BootData) -> Machine:
        self._call("reinstall")
        if (provider_instance_id, boot.generation) in self.boots and provider_instance_id in self.live:
            return self.live[provider_instance_id]
        self._moved(provider_instance_id, boot)
        return self.live[provider_instance_id].model_copy(update={"host": None, "port": None})

    async def restart_agent(self, provider_instance_id: str, zone: str, boot: BootData) -> None:
        self._call("restart_agent")
        self._moved(provider_instance_id, boot)

    def _moved(self, provider_instance_id: str, boot: BootData) -> None:
        """A new boot finds its port taken, as it may."""
        if provider_instance_id not in self.live:
            raise ProviderRejected("there is no such machine")
        installed = max((generation for one, generation in self.boots if one == provider_instance_id), default=0)
        if installed > boot.generation:
            raise ProviderRejected("a newer generation is installed", details={INSTALLED_GENERATION: installed})
        self.boots.append((provider_instance_id, boot.generation))
        machine = self.live[provider_instance_id]
        self.live[provider_instance_id] = machine.model_copy(update={"port": FIRST_PORT + boot.generation})
        self._hidden[provider_instance_id] = self.hidden_looks
        (self.dead_agents or set()).discard(provider_instance_id)

    async def list_volumes(self, installation_id: UUID, instance_id: UUID, zone: str) -> list[Volume]:
        self._call("list_volumes")
        wanted = Tags(installation_id, instance_id, zone)
        return [volume for volume_id, volume in self.volumes.items() if self._tags[volume_id] == wanted]

    async def delete_volume(self, provider_volume_id: str, zone: str) -> None:
        self._call("delete_volume")
        if self.volumes.pop(provider_volume_id, None):
            self.ended_at[provider_volume_id] = utc_now()

    async def volume_ended(self, provider_volume_id: str, zone: str) -> Ended | None:
        if provider_volume_id in self.volumes or provider_volume_id in self.kept_elsewhere:
            return None
        return Ended(provider_id=provider_volume_id, billed_until=self.ended_at.get(provider_volume_id))
