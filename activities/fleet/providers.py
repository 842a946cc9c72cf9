"""A provider as a worker has it: what the rules know of it, and how its machines are reached."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Final

import httpx

from activities import adapters
from models.domain.fleet.provider_kind import ProviderKind
from models.ports.compute import (
    ComputePort,
    SupportsAgentRestart,
    SupportsCatalog,
    SupportsReinstall,
    SupportsVolumes,
)
from models.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Provider:
    """`activities/adapters/<code>/provider.py` exports one as `PROVIDER`."""

    kind: ProviderKind
    build: Callable[[Settings, httpx.AsyncClient], ComputePort]
    """Its machines, by the settings (those of its own are told by `isinstance`); the client is for calls to the outside."""

    def connect(self, settings: Settings, http: httpx.AsyncClient) -> ComputePort:
        """What `build` makes. Raises TypeError where that can do more, or less, than the kind says: requests are refused by the
        one, and served by the other.
        """
        compute = self.build(settings, http)
        if wrong := [
            name for name, protocol in _PROTOCOLS.items() if isinstance(compute, protocol) != self._says(name)
        ]:
            raise TypeError(f"the kind {self.kind.code} and its adapter differ in {', '.join(wrong)}")
        return compute

    def _says(self, name: str) -> bool:
        said: bool = getattr(self.kind, name)
        return said


_PROTOCOLS: Final[Mapping[str, type]] = {
    "can_reinstall": SupportsReinstall,
    "can_restart_agent": SupportsAgentRestart,
    "has_volumes": SupportsVolumes,
    "lists_types": SupportsCatalog,
}
"""What makes a field of `ProviderKind` true."""


def provider_of(kind: ProviderKind) -> Provider:
    """The provider of this kind. Its adapter, and with it a vendor's library, is loaded now: ask only to serve it.

    Raises ImportError where there is none, TypeError where its module exports something else.
    """
    module = f"{adapters.__name__}.{kind.code}.provider"
    found = getattr(import_module(module), "PROVIDER", None)
    if not isinstance(found, Provider) or found.kind != kind:
        raise TypeError(f"{module} exports no PROVIDER of the kind {kind.code}")
    return found
