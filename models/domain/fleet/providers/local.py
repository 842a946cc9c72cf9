"""The provider `local`: model servers as programs on the host of a worker. It has no price, for nobody bills it."""

from typing import Final

from models.domain.fleet.provider_kind import ProviderKind

PROVIDER: Final = ProviderKind(
    code="local",
    is_on_this_machine=True,
    is_free=True,
    needs_model_file=True,
    machines="machines of this host",
    can_reinstall=True,
    can_restart_agent=True,
)
