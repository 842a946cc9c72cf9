"""The `mock` adapter keeps the contract of the compute port on a real simulated cloud. How it bears faults: `tests/simcloud`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.compute_port import AgentRestartSuite, CatalogSuite, ComputePortSuite, ReinstallSuite, VolumesSuite
from tests.simcloud.cloud_process import CloudProcess, running_cloud
from tests.simcloud.on_mock import OnMock


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as process:
        yield process


class TestMockCompute(OnMock, ComputePortSuite):
    """Everything the port promises."""


class TestMockReinstall(OnMock, ReinstallSuite):
    """SupportsReinstall."""


class TestMockAgentRestart(OnMock, AgentRestartSuite):
    """SupportsAgentRestart."""


class TestMockVolumes(OnMock, VolumesSuite):
    """SupportsVolumes."""


class TestMockCatalog(OnMock, CatalogSuite):
    """SupportsCatalog."""
