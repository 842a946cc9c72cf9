"""The journal of inference requests: files of lines that survive a kill of the process which writes them.

    <folder>/<owner>/lock             held (flock) by the owner as long as it lives
    <folder>/<owner>/00000001.log     segments, appended to with one write() per line (`models.domain.inference.journal_lines`)

What was written is with the kernel, so that SIGKILL loses none of it; a power cut may lose the last seconds. Segments are read
in order, and removed once everything closed in them is in the database. A journal whose lock is free has lost its owner: any
process may adopt it. The folder must be on a disk of this machine: locks do not reach further.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from models.base.ids import new_id
from models.domain.inference.journal_lines import Line, LineKind, decode_line, encode_line

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 8_000_000
READ_BYTES = 262_144
TRIAL_BYTES = 4096
"""More than a line: where there is room for so much there is room for the next one."""
LOCK = "lock"
UNBORN = ".new-"


@dataclass(frozen=True, slots=True)
class Position:
    """Everything before it has been read."""

    segment: int = 0
    offset: int = 0


class Journal:
    """This process's own journal. Raises OSError where the disk refuses a line; the next line is then still readable.

    A disk that refuses it altogether is no failure of the start: it is made with the first line, or the next `try_disk`.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        owner = new_id().hex
        self._unborn, self.folder = folder / f"{UNBORN}{owner}", folder / owner
        self._lock: int | None = None
        self._file: int | None = None
        self._segment_bytes = segment_bytes
        self._open: dict[str, list[bytes]] = {}
        self._is_torn = False
        self._segment, self._size = 1, 0
        self.is_refused = True
        """Whether the disk has refused the last line."""
        with suppress(OSError):
            self._begin()
            self.is_refused = False

    @property
    def open_records(self) -> int:
        return len(self._open)

    def opened(self, record_id: str, json: bytes) -> None:
        line = encode_line(LineKind.OPENED, json)
        if self._file is not None and self._size >= self._segment_bytes:
            self._rotate(self._file)
        self._append(line)
        self._open[record_id] = [line]

    def progress(self, record_id: str, json: bytes) -> None:
        line = encode_line(LineKind.PROGRESS, json)
        self._append(line)
        self._open[record_id][1:] = [line]

    def closed(self, record_id: str, json: bytes) -> None:
        """Last word on a request. If the disk refuses it the request stays open: call again."""
        self._append(encode_line(LineKind.CLOSED, json))
        self._open.pop(record_id, None)

    def try_disk(self) -> None:
        """Where the last line was refused, or the next one might be: blank ones, which no reader minds, show what is so now."""
        if self.is_refused or _room_bytes(self.folder) < TRIAL_BYTES:
            self._append(b"\n" * TRIAL_BYTES)

    def close(self, *, is_settled: bool) -> None:
        """Let go of the lock. What is not in the database is left for an adopter; if all of it is, nothing is left."""
        if self._file is not None:
            os.close(self._file)
        if self._lock is not None:
            if is_settled and not self._open:
                _remove(self.folder)
            os.close(self._lock)

    def _begin(self) -> int:
        """The file to write to. What has been made of the journal before the disk refused the rest is not made again."""
        if self._lock is None:
            self._unborn.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self._unborn / LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._unborn.rename(self.folder)  # visible to adopters only now, with its lock held
            except OSError:
                os.close(lock)
                raise
            self._lock = lock
        self._file = self._create(self._segment)
        return self._file

    def _rotate(self, current: int) -> None:
        """Go on in a new segment. It repeats the requests still open, so that no old segment is needed for their sake."""
        self.is_refused = True
        file = self._create(self._segment + 1)
        repeated = b"".join(line for lines in self._open.values() for line in lines)
        try:
            if os.write(file, repeated) != len(repeated):
                raise OSError("the disk has no room for a new segment of the journal")
        except OSError:  # an empty one left here would have the reader leave the one that is still written to
            os.close(file)
            _segment_path(self.folder, self._segment + 1).unlink()
            raise
        os.close(current)
        self._file, self._segment, self._size, self._is_torn = file, self._segment + 1, len(repeated), False

    def _create(self, segment: int) -> int:
        return os.open(
            _segment_path(self.folder, segment), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )

    def _append(self, line: bytes) -> None:
        data = b"\n" + line if self._is_torn else line
        self.is_refused = True
        written = os.write(self._begin() if self._file is None else self._file, data)
        self._size += written
        self.is_refused = self._is_torn = written != len(data)
        if self._is_torn:
            raise OSError(f"the journal took {written} of {len(data)} bytes")


class JournalReader:
    """Reads a journal in bounded pieces; memory does not grow with what is waiting on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.position = Position()

    def lines(self, limit: int, only: LineKind | None = None) -> tuple[list[Line], Position]:
        """Up to `limit` whole lines (of one kind) from `position` on, and where they end. No lines: nothing more is there now."""
        segments = [number for number in _segments(self._folder) if number >= self.position.segment]
        for index, number in enumerate(segments):
            offset = self.position.offset if number == self.position.segment else 0
            lines, offset = self._read(number, offset, limit, only)
            if lines or index == len(segments) - 1:
                return lines, Position(number, offset)
        return [], self.position

    def advance(self, position: Position) -> None:
        """Everything before `position` is in the database: go on there, and remove the segments that it leaves behind."""
        self.position = position
        for number in _segments(self._folder):
            if number < position.segment:
                _segment_path(self._folder, number).unlink(missing_ok=True)

    def _read(self, segment: int, offset: int, limit: int, only: LineKind | None) -> tuple[list[Line], int]:
        lines: list[Line] = []
        with _segment_path(self._folder, segment).open("rb") as file:
            file.seek(offset)
            while len(lines) < limit:
                block = file.read(READ_BYTES)
                whole = block[: block.rfind(b"\n") + 1]
                if not whole and len(block) < READ_BYTES:
                    break
                if not whole:  # no line of ours is this long: damage, passed over
                    offset += len(block)
                    continue
                for raw in whole.split(b"\n")[:-1]:
                    offset += len(raw) + 1
                    if only is not None and raw[:1] != only.value:
                        continue
                    line = decode_line(raw)
                    if line is not None:
                        lines.append(line)
                    elif raw:
                        logger.warning("the inference journal holds a torn line of %d bytes; it is left out", len(raw))
                    if len(lines) == limit:
                        break
                file.seek(offset)
        return lines, offset


@dataclass(frozen=True)
class Orphan:
    """A journal without an owner, held by this process until `release` or `remove`."""

    folder: Path
    lock: int

    def release(self) -> None:
        os.close(self.lock)

    def remove(self) -> None:
        """It is all in the database."""
        _remove(self.folder)
        os.close(self.lock)


def orphans(folder: Path) -> Iterator[Orphan]:
    """The journals whose owner is gone, each locked for the caller, who must release or remove it."""
    for child in sorted(folder.iterdir()) if folder.is_dir() else []:
        if child.name.startswith(UNBORN):
            continue
        with suppress(FileNotFoundError):  # another process has just adopted and removed it
            lock = os.open(child / LOCK, os.O_WRONLY | os.O_CLOEXEC)
            if _try_lock(lock):
                yield Orphan(child, lock)
            else:
                os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(folder: Path) -> None:
    """The lock goes last: a removal that is cut short is gone on with by the next adopter."""
    for number in _segments(folder):
        _segment_path(folder, number).unlink()
    (folder / LOCK).unlink()
    folder.rmdir()


def _room_bytes(folder: Path) -> int:
    """For this user: root may write where others no longer can."""
    found = os.statvfs(folder)
    return found.f_frsize * (found.f_bfree if os.geteuid() == 0 else found.f_bavail)


def _segment_path(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.log"


def _segments(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.log"))
