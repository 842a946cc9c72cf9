"""The record of what runs is right on a full disk, too, and what could not be written is written later."""

import errno
from pathlib import Path

import pytest

from workers.embedded import run_record
from workers.embedded.home import Home, open_home, read_record
from workers.embedded.processes import ProcessIdentity, ProcessSpec
from workers.embedded.run_record import RunRecord
from workers.embedded.supervisor import Part, SupervisedPart

SUPERVISOR = ProcessIdentity(1, "boot/1", ("up",))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return open_home(tmp_path / "home")


async def part(folder: Path) -> SupervisedPart:
    spec = ProcessSpec("test", ("/bin/sh", "-c", "exec sleep 600"), folder / "log", folder, {"PATH": "/usr/bin:/bin"})
    return SupervisedPart(Part("test", lambda: spec, lambda: True), lambda: None)


def refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def states(home: Home) -> list[object]:
    parts = (read_record(home) or {})["parts"]
    assert isinstance(parts, list)
    return [one["state"] for one in parts]


async def test_it_goes_into_room_that_it_has(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    record, one = RunRecord(home, SUPERVISOR), await part(home.path)
    record.note([one])
    monkeypatch.setattr(run_record, "write_private", refuse)
    for _ in range(3):
        await one.start()
        record.note([one])
        assert states(home) == ["ready"]
        await one.stop()
        record.note([one])
        assert states(home) == ["stopped"]
        one = await part(home.path)
    assert home.run_record.stat().st_mode & 0o077 == 0
    record.catch_up()
    record.remove()
    assert [path.name for path in home.path.iterdir() if path.is_file()] == ["log"]


async def test_what_finds_no_room_is_said_and_written_later(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As at a start on a disk that is full already."""
    record, one = RunRecord(home, SUPERVISOR), await part(home.path)
    with monkeypatch.context() as full:
        full.setattr(run_record, "write_private", refuse)
        record.note([one])
        with pytest.raises(OSError, match="No space left"):
            record.catch_up()
    record.catch_up()
    assert states(home) == ["stopped"]


def test_two_names_change_places(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    assert not run_record._exchange(bytes(one), bytes(other))
    other.write_text("2")
    if run_record._exchange(bytes(one), bytes(other)):
        assert (one.read_text(), other.read_text()) == ("2", "1")
