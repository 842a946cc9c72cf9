"""What the rules know of a provider: facts, as data. No rule asks which provider it is; each asks what it is like."""

from dataclasses import dataclass
from typing import Final

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

    def queue(self, zone_code: str) -> str:
        """The task queue whose workers reach its machines in the zone."""
        return f"{HOST_QUEUE}{zone_code}" if self.is_on_this_machine else f"{CLOUD_QUEUE}{self.code}"
