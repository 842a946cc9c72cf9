"""The provider `mock`: machines of the simulated cloud, which serve one made-up model and no real one (contract/fleet.md 2.9)."""

from typing import Final

from models.domain.fleet.provider_kind import ProviderKind

PROVIDER: Final = ProviderKind(
    code="mock",
    own_models=frozenset({"mock-echo-model"}),
    machines="simulated machines",
    can_reinstall=True,
    can_restart_agent=True,
    has_volumes=True,
    lists_types=True,
)
