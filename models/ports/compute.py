"""What the instance owner needs of a provider, and nothing more.

One small mandatory port; what only some providers can do are Protocols of their own, and the registry asks `isinstance`.
Adapters raise only the `Provider*` errors of `models.base.errors`; whether a retry can help is decided there.
"""

from typing import Protocol, runtime_checkable
from uuid import UUID

from models.domain.fleet.instances.machines import (
    BootData,
    Ended,
    Machine,
    MachinesPage,
    MachineSpec,
    MachineState,
    OfferedType,
    Volume,
)

__all__ = [
    "BootData",
    "ComputePort",
    "Ended",
    "Machine",
    "MachineSpec",
    "MachineState",
    "MachinesPage",
    "OfferedType",
    "SupportsAgentRestart",
    "SupportsCatalog",
    "SupportsReinstall",
    "SupportsVolumes",
    "Volume",
]


class ComputePort(Protocol):
    async def find(self, installation_id: UUID, instance_id: UUID) -> list[Machine]:
        """Every machine tagged with this instance that still exists, oldest first; empty when there is none.

        The answer may lag a create by the provider's eventual consistency: one empty answer right after an ambiguous create
        is not proof of absence.
        """
        ...

    async def create(self, spec: MachineSpec, boot: BootData, *, first_attempt: bool = False) -> Machine:
        """The machine for `spec.machine_key`: the existing one, in whatever zone it was made, or a new one in `spec.zone`.
        Calling it again is safe after any failure.

        `first_attempt=True` is the caller's promise that no create for this key was ever sent before: it has just committed
        the record that the first one is about to be. It spares a provider without idempotency keys a careful look.

        Raises NoCapacity, ProviderThrottled, ProviderUnavailable, ProviderRejected, ProviderAuth, PartialCreate.
        """
        ...

    async def describe(self, provider_instance_id: str, zone: str) -> Machine | None:
        """The machine now; None only when the provider says that it does not exist. An error is never read as absence."""
        ...

    async def delete(self, provider_instance_id: str, zone: str) -> None:
        """Ask for deletion. A machine that does not exist is success. Returning does not mean gone: `ended` does."""
        ...

    async def ended(self, provider_instance_id: str, zone: str) -> Ended | None:
        """Proof that the machine is gone and no longer billed, or None while it still exists."""
        ...

    async def list_machines(self, installation_id: UUID, zone: str) -> list[Machine]:
        """Every machine of this installation in the zone, in one call (pages are followed)."""
        ...

    async def page_of_machines(self, installation_id: UUID, cursor: str | None = None) -> MachinesPage:
        """A page of every machine that carries the installation's tag, in whatever zone: the first, or the one at `cursor`.

        A machine whose other tags are missing or make no sense is among them. One that the provider shows without our tag, or
        with another installation's, is not: it is counted as `foreign`. So is no machine that is gone and no longer billed.
        """
        ...


@runtime_checkable
class SupportsReinstall(Protocol):
    async def reinstall(self, provider_instance_id: str, spec: MachineSpec, boot: BootData) -> Machine:
        """The same machine with a fresh install and new boot data. Safe to repeat for the same `boot.generation`."""
        ...


@runtime_checkable
class SupportsAgentRestart(Protocol):
    async def restart_agent(self, provider_instance_id: str, zone: str, boot: BootData) -> None:
        """Start the node agent again on a machine that stays. A running agent is stopped first."""
        ...


@runtime_checkable
class SupportsVolumes(Protocol):
    async def list_volumes(self, installation_id: UUID, instance_id: UUID, zone: str) -> list[Volume]:
        """Volumes tagged with the instance, attached or left behind."""
        ...

    async def delete_volume(self, provider_volume_id: str, zone: str) -> None:
        """Ask for deletion; absence is success."""
        ...

    async def volume_ended(self, provider_volume_id: str, zone: str) -> Ended | None: ...


@runtime_checkable
class SupportsCatalog(Protocol):
    async def list_instance_types(self, zone: str) -> list[OfferedType]: ...
