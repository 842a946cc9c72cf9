"""Logs stay short while programs write to them; every line stays, in order, in one of the files."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.embedded.log_lines import files_of, need_to_collapse, numbers_in
from workers.embedded import part_logs
from workers.embedded.part_logs import PartLogs

LIMIT_BYTES = 200_000
WRITER = """
import sys
for number in range(int(sys.argv[1])):
    sys.stdout.write(f"line {number} {'x' * (number % 150)}\\n")
    sys.stdout.flush()
"""


def logs_in(folder: Path, kept: int = 1_000) -> PartLogs:
    return PartLogs(folder, limit_bytes=LIMIT_BYTES, kept=kept)


@contextmanager
def writing(log: Path, lines: int) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as file:
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(lines)], stdout=file)
    with process:
        yield process


def test_a_run_begins_its_logs_anew_and_the_latest_are_kept(tmp_path: Path) -> None:
    for number in range(5):
        log = logs_in(tmp_path, kept=2).of_this_run("x")
        assert not log.exists()
        log.write_text(str(number))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "x.log": "4",
        "x.log.1": "3",
        "x.log.2": "2",
    }


def test_a_restarted_part_goes_on_in_its_log_and_fewer_kept_means_fewer(tmp_path: Path) -> None:
    for number in range(4):
        logs_in(tmp_path, kept=3).of_this_run("x").write_text(str(number))
    logs = logs_in(tmp_path, kept=1)
    assert logs.of_this_run("x") == logs.of_this_run("x") == tmp_path / "x.log"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"x.log.1": "3"}


def test_no_line_is_lost_torn_or_doubled_while_a_program_writes_on(tmp_path: Path) -> None:
    need_to_collapse(tmp_path)
    logs, lines = logs_in(tmp_path), 60_000
    log = logs.of_this_run("part")
    with writing(log, lines) as process:
        while process.poll() is None:
            logs.shorten()
    assert process.returncode == 0
    logs.shorten()
    assert len(files_of(log)) > 5
    assert log.stat().st_size <= LIMIT_BYTES
    assert numbers_in(log) == list(range(lines))


def test_a_file_system_that_cannot_take_out_a_beginning_keeps_the_log_short_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_logs, "_collapse", lambda _file, _length: False)
    logs = logs_in(tmp_path)
    log = logs.of_this_run("part")
    for _ in range(3):
        with writing(log, 5_000) as process:
            process.wait()
        logs.shorten()
        assert log.stat().st_size == 0
    assert numbers_in(log) == [*range(5_000)] * 3


@pytest.mark.parametrize("step", ["_collapse", "_notice", "_copy"])
def test_killed_at_any_step_it_leaves_every_line_somewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Not in order, for some are there twice then."""
    need_to_collapse(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    logs = logs_in(tmp_path)
    log = logs.of_this_run("part")
    with writing(log, 5_000) as process:
        process.wait()
    with monkeypatch.context() as patched:
        patched.setattr(part_logs, step, killed)
        with pytest.raises(KeyboardInterrupt):
            logs.shorten()
    found = {
        int(line.split()[1])
        for path in files_of(log)
        for line in path.read_text().splitlines()
        if line.startswith("line ")
    }
    assert found == set(range(5_000))
    logs.shorten()
    assert log.stat().st_size <= LIMIT_BYTES


def test_a_disk_that_stays_full_costs_no_older_log_and_no_other_log_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = 3
    for number in range(kept):
        logs_in(tmp_path, kept).of_this_run("part").write_text(f"{number}\n")
    logs = logs_in(tmp_path, kept)
    log, other = logs.of_this_run("part"), logs.of_this_run("other")
    older = {path.name: path.read_text() for path in files_of(log) if path != log}
    assert len(older) == kept
    for each in (log, other):
        each.write_bytes(b"line\n" * LIMIT_BYTES)
    copy, tried = part_logs._copy, []

    def full(source: int, target: int, begin: int, end: int) -> None:
        tried.append(target)
        if os.path.samestat(os.fstat(source), log.stat()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        copy(source, target, begin, end)

    monkeypatch.setattr(part_logs, "_copy", full)
    for _ in range(kept + 1):
        with pytest.raises(OSError, match="No space left"):
            logs.shorten()
    assert len(tried) > kept
    assert {path.name: path.read_text() for path in files_of(log) if path != log} == older
    assert other.stat().st_size <= LIMIT_BYTES, "it has room"


def test_a_line_without_end_does_not_keep_a_log_long(tmp_path: Path) -> None:
    logs = logs_in(tmp_path)
    log = logs.of_this_run("part")
    log.write_bytes(b"first\n" + b"x" * (3 * LIMIT_BYTES))
    logs.shorten()
    assert log.stat().st_size < part_logs.LONGEST_LINE_BYTES
    assert b"".join(path.read_bytes() for path in files_of(log)).count(b"x") >= 3 * LIMIT_BYTES - 2


def test_old_logs_never_exceed_what_is_kept(tmp_path: Path) -> None:
    logs = logs_in(tmp_path, kept=2)
    log = logs.of_this_run("part")
    for _ in range(6):
        with writing(log, 5_000) as process:
            process.wait()
        logs.shorten()
    assert [path.name for path in files_of(log)] == ["part.log.2", "part.log.1", "part.log"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part.log", "part.log.1", "part.log.2"]
