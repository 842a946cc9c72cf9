"""What tests keep in memory where there is room leaves nothing there."""

import os
from pathlib import Path

import pytest

from tests import memory
from tests.memory import PREFIX, folder_in_memory


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LEAST_FREE_BYTES", 0)


@pytest.mark.usefixtures("roomy")
def test_it_is_gone_afterwards_with_what_a_killed_session_left(tmp_path: Path) -> None:
    killed, running = tmp_path / f"{PREFIX}{2**22 + 1}", tmp_path / f"{PREFIX}{os.getppid()}"
    for left in (killed, running):
        (left / "postgres").mkdir(parents=True)
    with folder_in_memory("postgres", tmp_path / "disk", shared_memory=tmp_path) as folder:
        (folder / "data").mkdir()
        (folder / "data" / "part.log").write_text("last words")
        assert folder.parent.parent == tmp_path
        assert folder.parent.stat().st_mode & 0o777 == 0o711
        assert not killed.exists()
        assert running.exists()
    assert {*tmp_path.iterdir()} == {running, tmp_path / "disk"}
    assert [path.read_text() for path in (tmp_path / "disk").rglob("*.*")] == ["last words"]


def test_without_room_it_lies_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LEAST_FREE_BYTES", 2**63)
    with folder_in_memory("postgres", tmp_path / "disk", shared_memory=tmp_path) as folder:
        assert folder == tmp_path / "disk"
    with folder_in_memory("postgres", tmp_path / "disk", shared_memory=tmp_path / "missing") as folder:
        assert folder == tmp_path / "disk"
