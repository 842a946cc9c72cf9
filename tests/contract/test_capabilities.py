"""What the kinds of the providers say that they can do is what their adapters do: the rules refuse by the one, a worker acts by the other."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from activities.fleet.providers import Provider, provider_of
from models.domain.fleet.provider_kind import ProviderKind
from models.domain.fleet.provider_kinds import PROVIDER_KINDS
from models.ports import compute
from models.ports.compute import SupportsAgentRestart, SupportsCatalog, SupportsReinstall, SupportsVolumes
from models.settings import Settings
from tests.contract.compute_port import AgentRestartSuite, CatalogSuite, ComputePortSuite, ReinstallSuite, VolumesSuite

CAPABILITIES: dict[str, tuple[type, type]] = {
    "can_reinstall": (SupportsReinstall, ReinstallSuite),
    "can_restart_agent": (SupportsAgentRestart, AgentRestartSuite),
    "has_volumes": (SupportsVolumes, VolumesSuite),
    "lists_types": (SupportsCatalog, CatalogSuite),
}
KINDS = pytest.mark.parametrize("kind", tuple(PROVIDER_KINDS), ids=lambda kind: kind.code)
CAPABLE = pytest.mark.parametrize("name", CAPABILITIES)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, installation_key=SecretStr("Zm9yIHRlc3RzIG9ubHk6IDMyIGJ5dGVzIG9mIGtleSE"))


@KINDS
@CAPABLE
async def test_the_flag_is_what_the_adapter_has(kind: ProviderKind, name: str, settings: Settings) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        machines = provider_of(kind).build(settings, http)
    assert getattr(kind, name) is isinstance(machines, CAPABILITIES[name][0])


@KINDS
@CAPABLE
def test_what_it_says_that_it_can_is_tried(kind: ProviderKind, name: str) -> None:
    """By the suite of the capability, in the module that tries the adapter; a suite of what it cannot would fail."""
    module = import_module(f"tests.contract.test_{kind.code}_compute")
    tried = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    assert any(issubclass(one, ComputePortSuite) for one in tried)
    assert getattr(kind, name) is any(issubclass(one, CAPABILITIES[name][1]) for one in tried)


@KINDS
@CAPABLE
async def test_a_worker_serves_no_provider_whose_flag_is_wrong(
    kind: ProviderKind, name: str, settings: Settings
) -> None:
    provider = provider_of(kind)
    other: dict[str, Any] = {name: not getattr(kind, name)}
    wrong = Provider(kind=replace(kind, **other), build=provider.build)
    async with httpx.AsyncClient(trust_env=False) as http:
        provider.connect(settings, http)
        with pytest.raises(TypeError, match=f"{kind.code} and its adapter differ in {name}$"):
            wrong.connect(settings, http)


def test_every_flag_is_among_these() -> None:
    """Whatever the port makes optional: `Supports...`."""
    assert {protocol.__name__ for protocol, _ in CAPABILITIES.values()} == {
        name for name in compute.__all__ if name.startswith("Supports")
    }
