"""What the rules know of a provider: facts, as data. No rule asks which provider it is; each asks what it is like."""

from dataclasses import dataclass
from typing import Final

from models.domain.fleet.instances.state import OnUnavailable

CLOUD_QUEUE: Final = "cloud-"
HOST_QUEUE: Final = "runner@"
"""Beginnings of the task queues of those who reach providers."""


@dataclass(frozen=True, kw_only=True)
class ProviderKind:
    """The half of a provider that everybody may read: `models/domain/fleet/providers/<code>.py` exports one as `PROVIDER`, and
    `activities/adapters/<code>/provider.py` says how its machines are reached.

    What stands here by default is true of a cloud of which only the catalogue's rows are known.
    """

    code: str
    """As in the catalogue's `providers.code`."""
    is_on_this_machine: bool = False
    """Its zones are hosts, and its machines are programs on them: whoever reaches one runs there too, and no order for one zone
    can be served in another. It is taken before others at the same price.
    """
    needs_credentials: bool = False
    """Only a worker that was told to serves it: no other can open what it is reached with."""
    is_free: bool = False
    """What has no price can be ordered all the same (contract decision 11)."""
    needs_model_file: bool = False
    """It serves models of which there is a file on the host, and no others."""
    own_models: frozenset[str] = frozenset()
    """The only models that its machines serve, and that no other provider's do; empty: whatever fits."""
    machines: str = "machines of this provider"
    """What its machines are called in a sentence, in the plural."""
    can_reinstall: bool = False
    """A machine of it can be installed anew and stays (`SupportsReinstall`)."""
    can_restart_agent: bool = False
    """The agent on a machine of it can be started again by itself (`SupportsAgentRestart`)."""
    has_volumes: bool = False
    """Its machines have volumes that are billed, and deleted, by themselves (`SupportsVolumes`)."""
    lists_types: bool = False
    """It says which types it offers (`SupportsCatalog`)."""

    def queue(self, zone_code: str) -> str:
        """The task queue whose workers reach its machines in the zone."""
        return f"{HOST_QUEUE}{zone_code}" if self.is_on_this_machine else f"{CLOUD_QUEUE}{self.code}"

    def can_heal_by(self, policy: OnUnavailable) -> bool:
        """Whether an instance of it that fell silent can be seen to in this way. Where the agent cannot be started again by
        itself, the machine is installed anew.
        """
        match policy:
            case OnUnavailable.REINSTALL:
                return self.can_reinstall
            case OnUnavailable.RESTART_AGENT:
                return self.can_restart_agent or self.can_reinstall
            case OnUnavailable.WAIT | OnUnavailable.TERMINATE:
                return True

    @property
    def heals_by(self) -> OnUnavailable:
        """What is done for an instance whose order leaves it out."""
        usual = OnUnavailable.RESTART_AGENT
        return usual if self.can_heal_by(usual) else OnUnavailable.WAIT
