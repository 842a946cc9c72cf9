"""`ComputePort` on this machine: a machine is a folder and the node agent that holds the lock in it.

Each operation may be killed at any line and repeated. A create is one `rename` of a complete folder, whose name follows from
the machine key; everything after it is found half done by the next call and finished. A machine whose agent died still is
a machine, and running: `restart_agent` heals it. One whose agent gave up (no usable model file) has failed.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from activities.adapters.local.folders import AgentFacts, MachineFolder, MachineFolders
from activities.adapters.local.model_files import resolve_model_file
from activities.adapters.local.processes import is_alive, launch, stopped
from activities.adapters.local.translate import translated
from models.base.clock import utc_now
from models.base.errors import ProviderRejected
from models.domain.fleet.instances.machines import INSTALLED_GENERATION
from models.ports.compute import BootData, Ended, Machine, MachinesPage, MachineSpec, MachineState

Answer = TypeVar("Answer")
PAGE = 200
"""Folders that are read for one page of a list, tombstones included."""


class LocalCompute:
    """ComputePort, with reinstall and agent restart. `instances_dir` is made when it is missing; `clock` is the meter's.

    Machine ids are unique on this host, so a zone only filters lists: a wrong one must not make a machine look gone.
    """

    def __init__(self, instances_dir: Path, *, models_dir: Path, clock: Callable[[], datetime] = utc_now) -> None:
        self._folders = MachineFolders(instances_dir.resolve())
        self._models_dir = models_dir
        self._clock = clock
        with translated():
            self._folders.make_root()

    async def find(self, installation_id: UUID, instance_id: UUID) -> list[Machine]:
        return [each for each in await _in_thread(self._existing, installation_id) if each.instance_id == instance_id]

    async def create(self, spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        """The machine for `spec.machine_key`; `first_attempt` spares nothing here, a look is cheap.

        Raises ProviderRejected when the key belongs to a machine that was ordered differently or has ended.
        """
        return await _in_thread(self._create, spec, boot)

    async def describe(self, provider_instance_id: str, zone: str) -> Machine | None:
        return await _in_thread(self._describe, provider_instance_id)

    async def delete(self, provider_instance_id: str, zone: str) -> None:
        """Ends the agent before it returns: up to some seconds."""
        await _in_thread(self._delete, provider_instance_id)

    async def ended(self, provider_instance_id: str, zone: str) -> Ended | None:
        return await _in_thread(self._ended, provider_instance_id)

    async def list_machines(self, installation_id: UUID, zone: str) -> list[Machine]:
        return [each for each in await _in_thread(self._existing, installation_id) if each.zone == zone]

    async def page_of_machines(self, installation_id: UUID, cursor: str | None = None) -> MachinesPage:
        """In the order of their folders. Nobody else's are `foreign`: they are not asked for."""
        return await _in_thread(self._page, installation_id, cursor)

    async def reinstall(self, provider_instance_id: str, spec: MachineSpec, boot: BootData) -> Machine:
        """Ends the agent, forgets what it knew, starts one with the new boot data. Raises ProviderRejected without machine."""
        return await _in_thread(self._reinstall, provider_instance_id, boot)

    async def restart_agent(self, provider_instance_id: str, zone: str, boot: BootData) -> None:
        """The agent of an unchanged generation keeps its credentials. Raises ProviderRejected without machine."""
        await _in_thread(self._restart_agent, provider_instance_id, boot)

    def _existing(self, installation_id: UUID) -> list[Machine]:
        machines = _existing_of(self._folders.all(), installation_id)
        return sorted(machines, key=lambda machine: (machine.created_at, machine.provider_instance_id))

    def _page(self, installation_id: UUID, cursor: str | None) -> MachinesPage:
        rest = [folder for folder in self._folders.all() if cursor is None or folder.id > cursor]
        looked_at = rest[:PAGE]
        return MachinesPage(
            machines=_existing_of(looked_at, installation_id),
            next_cursor=looked_at[-1].id if len(rest) > PAGE else None,
        )

    def _create(self, spec: MachineSpec, boot: BootData) -> Machine:
        model_file = resolve_model_file(spec.model_file, self._models_dir)
        folder = self._folders.find_or_make(spec, self._clock())
        with folder.exclusively():
            if folder.ended_at() is not None:
                raise ProviderRejected("the machine with this key has ended; a new one needs a new key")
            if folder.ordered().spec != spec:
                raise ProviderRejected("a machine with this key was ordered with other parameters")
            if folder.deleting_since() is None and folder.agent() is None and not _has_newer(folder, boot):
                self._start(folder, boot, model_file)
            return _machine(folder)

    def _describe(self, machine_id: str) -> Machine | None:
        folder = self._folders.find(machine_id)
        return None if folder is None or folder.ended_at() is not None else _machine(folder)

    def _delete(self, machine_id: str) -> None:
        folder = self._folders.find(machine_id)
        if folder is None:
            return
        with folder.exclusively():
            if folder.ended_at() is not None:
                return
            folder.mark_deleting(self._clock())
            # The lock stays ours until the boot data is gone: an agent launched by a process that was killed meanwhile
            # finds nothing to start with.
            with stopped(folder.lock_file, _pid(folder)):
                folder.forget_agent()
                folder.mark_ended(self._clock())

    def _ended(self, machine_id: str) -> Ended | None:
        folder = self._folders.find(machine_id)
        if folder is None:
            return Ended(provider_id=machine_id)
        ended_at = folder.ended_at()
        if ended_at is None:
            return None
        return Ended(provider_id=machine_id, billed_from=folder.started_at(), billed_until=ended_at)

    def _reinstall(self, machine_id: str, boot: BootData) -> Machine:
        model_file = resolve_model_file(boot.model_file, self._models_dir)
        with self._changing(machine_id, boot) as folder:
            agent = folder.agent()
            if agent is None or agent.generation != boot.generation:
                with stopped(folder.lock_file, _pid(folder)):
                    folder.forget_agent()
                    folder.write_boot(boot, model_file, folder.ordered().spec.machine_key)
                self._start(folder, boot, model_file)
            return _machine(folder)

    def _restart_agent(self, machine_id: str, boot: BootData) -> None:
        model_file = resolve_model_file(boot.model_file, self._models_dir)
        with self._changing(machine_id, boot) as folder:
            with stopped(folder.lock_file, _pid(folder)):
                folder.write_boot(boot, model_file, folder.ordered().spec.machine_key)
            launch(folder.path)

    @contextmanager
    def _changing(self, machine_id: str, boot: BootData) -> Iterator[MachineFolder]:
        folder = self._folders.find(machine_id)
        if folder is None:
            raise ProviderRejected("there is no such machine")
        with folder.exclusively():
            if folder.ended_at() is not None or folder.deleting_since() is not None:
                raise ProviderRejected("the machine has ended or is ending")
            if _has_newer(folder, boot):
                raise ProviderRejected(
                    "a newer generation is installed on this machine",
                    details={INSTALLED_GENERATION: _installed(folder)},
                )
            yield folder

    def _start(self, folder: MachineFolder, boot: BootData, model_file: Path) -> None:
        installed = folder.boot()
        if installed is None or installed.generation != boot.generation:
            folder.write_boot(boot, model_file, folder.ordered().spec.machine_key)
        folder.mark_started(self._clock())
        launch(folder.path)


def _existing_of(folders: Sequence[MachineFolder], installation_id: UUID) -> list[Machine]:
    """Those of the installation, tombstones left out."""
    ours = (folder for folder in folders if folder.ordered().spec.installation_id == installation_id)
    return [_machine(folder) for folder in ours if folder.ended_at() is None]


def _machine(folder: MachineFolder) -> Machine:
    ordered, agent = folder.ordered(), folder.agent_of_boot()
    state, error = _state(folder, agent)
    return Machine(
        provider_instance_id=folder.id,
        instance_id=ordered.spec.instance_id,
        machine_key=ordered.spec.machine_key,
        name=ordered.spec.name,
        zone=ordered.spec.zone,
        instance_type=ordered.spec.instance_type,
        state=state,
        created_at=ordered.created_at,
        billed_from=folder.started_at(),
        host=agent.host if agent else None,
        port=agent.port if agent else None,
        error=error,
        is_agent_running=None if state is MachineState.DELETING else is_alive(folder.lock_file),
    )


def _state(folder: MachineFolder, agent: AgentFacts | None) -> tuple[MachineState, str | None]:
    if folder.deleting_since() is not None:
        return MachineState.DELETING, None
    if agent is None:
        return MachineState.PENDING, None
    if agent.has_failed:
        return MachineState.FAILED, agent.error
    if is_alive(folder.lock_file):
        return MachineState.RUNNING, None
    return MachineState.RUNNING, "the node agent is not running" + (f": {agent.error}" if agent.error else "")


def _has_newer(folder: MachineFolder, boot: BootData) -> bool:
    return (_installed(folder) or 0) > boot.generation


def _installed(folder: MachineFolder) -> int | None:
    installed = folder.boot()
    return installed.generation if installed else None


def _pid(folder: MachineFolder) -> int | None:
    agent = folder.agent()
    return agent.pid if agent else None


async def _in_thread(work: Callable[..., Answer], *arguments: object) -> Answer:
    def run() -> Answer:
        with translated():
            return work(*arguments)

    return await asyncio.to_thread(run)
