"""What goes wrong beside the parts is said once, in one line, and once more when it comes again."""

import errno
from pathlib import Path

import pytest

from workers.embedded import disk_space, housekeeping
from workers.embedded.disk_space import RESERVE_BYTES, Reserve, check_reserve, shortage
from workers.embedded.home import Home, open_home
from workers.embedded.housekeeping import Housekeeping
from workers.embedded.part_logs import PartLogs
from workers.embedded.run_record import RunRecord

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return open_home(tmp_path / "home")


@pytest.fixture
def logs(home: Home) -> PartLogs:
    return PartLogs(home.logs, limit_bytes=1000, kept=1)


class Told:
    """What one `Housekeeping` said of a row of looks."""

    def __init__(self, home: Home, logs: PartLogs) -> None:
        self.lines: list[str] = []
        self.shown: list[str | None] = []
        self._own = Housekeeping(home, logs, RunRecord(home, None), self.lines.append, self.shown.append)

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self._own.look()


def test_that_logs_cannot_be_kept_short_is_said_once_and_again_when_it_comes_again(
    home: Home, logs: PartLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[OSError | None] = [
        OSError(errno.EIO, "broken"),
        OSError(errno.EIO, "broken"),
        None,
        OSError(errno.EIO, "broken"),
    ]

    def shorten() -> None:
        if (failure := looks.pop(0)) is not None:
            raise failure

    monkeypatch.setattr(logs, "shorten", shorten)
    told = Told(home, logs)
    told.look(4)
    assert told.lines == ["the logs cannot be kept short: broken"] * 2


def test_a_full_disk_is_one_line_whatever_cannot_be_written(
    home: Home, logs: PartLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise FULL

    told = Told(home, logs)
    with monkeypatch.context() as full:
        full.setattr(housekeeping, "shortage", lambda *_: "No space left on device")
        full.setattr(logs, "shorten", refuse)
        full.setattr(Reserve, "keep", lambda _self: refuse())
        told.look(3)
    assert [line.partition(":")[0] for line in told.lines] == [
        f"no room on the disk of {home.path} (No space left on device)"
    ]
    told.look(2)
    assert told.lines[1:] == [f"there is room again on the disk of {home.path}"]
    assert told.shown == ["No space left on device", None]


def test_once_it_is_short_twice_the_room_is_asked_for(
    home: Home, logs: PartLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []

    def look(_folder: Path, least_bytes: int | None = None) -> str | None:
        asked.append(least_bytes)
        return "3 MB are left" if len(asked) < 3 else None

    monkeypatch.setattr(housekeeping, "shortage", look)
    Told(home, logs).look(4)
    low = disk_space.LOW_BYTES
    assert asked == [low, 2 * low, 2 * low, low]


def test_room_is_tried_and_not_only_looked_up(tmp_path: Path) -> None:
    assert shortage(tmp_path) is None
    assert shortage(tmp_path / "nowhere") == "No such file or directory"
    assert str(shortage(tmp_path, 1 << 60)).endswith(" MB are left")


def test_the_reserve_has_blocks_of_its_own_and_is_made_again(home: Home) -> None:
    reserve = Reserve(home.path)
    for _ in range(2):
        reserve.keep()
        reserve.keep()
        found = (home.path / "reserve").stat()
        assert (found.st_size, found.st_blocks * 512 >= RESERVE_BYTES, found.st_mode & 0o077) == (
            RESERVE_BYTES,
            True,
            0,
        )
        reserve.release()
        reserve.release()
        assert not reserve.is_kept()
    assert [path.name for path in home.path.iterdir() if path.is_file()] == []


def test_a_reserve_that_would_leave_nothing_to_others_is_not_made(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_reserve(home.path).ok
    monkeypatch.setattr(disk_space, "LOW_BYTES", 1 << 60)
    Reserve(home.path).keep()
    assert not Reserve(home.path).is_kept()
    assert not check_reserve(home.path).ok
