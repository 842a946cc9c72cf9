"""The provider of the workflow tests keeps the contract too: what an owner learns from it holds for a real one."""

import pytest

from tests.contract.compute_port import (
    AgentRestartSuite,
    BootFactory,
    ComputePortSuite,
    ReinstallSuite,
    SpecFactory,
    VolumesSuite,
)
from tests.fakes.compute import FakeCompute


class _InMemory:
    @pytest.fixture
    def compute(self) -> FakeCompute:
        return FakeCompute()

    @pytest.fixture
    def pages_of_two(self, compute: FakeCompute) -> None:
        compute.page = 2

    @pytest.fixture
    def zone(self) -> str:
        return "fake-a"

    @pytest.fixture
    def instance_type(self) -> str:
        return "fake-1"


class TestFakeCompute(_InMemory, ComputePortSuite):
    """Everything the port promises."""

    async def test_another_zone_lists_nothing(
        self, compute: FakeCompute, new_spec: SpecFactory, boot_for: BootFactory
    ) -> None:
        spec = new_spec()
        await compute.create(spec, boot_for(spec))
        assert await compute.list_machines(spec.installation_id, "fake-b") == []


class TestFakeReinstall(_InMemory, ReinstallSuite):
    """SupportsReinstall."""


class TestFakeAgentRestart(_InMemory, AgentRestartSuite):
    """SupportsAgentRestart."""


class TestFakeVolumes(_InMemory, VolumesSuite):
    """SupportsVolumes."""
