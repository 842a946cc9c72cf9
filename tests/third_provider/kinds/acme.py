"""A made-up cloud that the product does not have."""

from typing import Final

from models.domain.fleet.provider_kind import ProviderKind

PROVIDER: Final = ProviderKind(
    code="acme",
    needs_credentials=True,
    own_models=frozenset({"acme-poet"}),
    machines="machines of Acme",
    can_restart_agent=True,
)
