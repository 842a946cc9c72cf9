"""The journal as files: what is written stays readable, what is in the ledger is removed, what has no owner is found."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import orjson
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.base.ids import new_text_id
from models.domain.inference.journal_lines import Line, LineKind, decode_line, encode_line
from models.repositories.inference import journal as inference_journal
from models.repositories.inference.journal import Journal, JournalReader, orphans


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path, segment_bytes=2_000)
    yield journal
    journal.close(is_settled=False)


def entry(record_id: str, **more: object) -> bytes:
    return orjson.dumps({"id": record_id, **more})


def closed_in(reader: JournalReader, limit: int = 100) -> list[str]:
    found: list[str] = []
    while True:
        lines, position = reader.lines(limit)
        if not lines:
            return found
        found += [orjson.loads(line.json)["id"] for line in lines if line.kind is LineKind.CLOSED]
        reader.advance(position)


def segments(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.log"))


@given(kind=st.sampled_from(LineKind), text=st.text(), flip=st.integers(0, 10_000))
def test_a_line_is_whole_or_nothing(kind: LineKind, text: str, flip: int) -> None:
    json = orjson.dumps({"text": text.encode("utf-8", "replace").decode()})
    line = encode_line(kind, json)
    assert line.count(b"\n") == 1
    assert decode_line(line[:-1]) == Line(kind, json)
    assert decode_line(line[: flip % (len(line) - 1)]) is None
    damaged = bytearray(line[:-1])
    damaged[11 + flip % len(json)] ^= 1
    assert decode_line(bytes(damaged)) is None


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
def test_everything_closed_is_read_once_in_order(journal: Journal, limit: int) -> None:
    ids = [new_text_id() for _ in range(200)]
    for record_id in ids:
        journal.opened(record_id, entry(record_id))
        journal.closed(record_id, entry(record_id))
    assert len(segments(journal.folder)) > 3
    assert closed_in(JournalReader(journal.folder), limit) == [str(record_id) for record_id in ids]
    assert len(segments(journal.folder)) == 1


def test_only_what_was_acknowledged_is_removed(journal: Journal) -> None:
    for _ in range(100):
        record_id = new_text_id()
        journal.opened(record_id, entry(record_id))
        journal.closed(record_id, entry(record_id))
    before = segments(journal.folder)
    reader = JournalReader(journal.folder)
    lines, _ = reader.lines(10)
    assert reader.lines(10)[0] == lines
    assert segments(journal.folder) == before


def test_a_long_request_keeps_no_old_segment(journal: Journal) -> None:
    """Its opening is repeated in each new segment, with the last word on its progress."""
    long = new_text_id()
    journal.opened(long, entry(long, model="m"))
    journal.progress(long, entry(long, output_tokens=1))
    journal.progress(long, entry(long, output_tokens=2))
    for _ in range(100):
        record_id = new_text_id()
        journal.opened(record_id, entry(record_id))
        journal.closed(record_id, entry(record_id))
    reader = JournalReader(journal.folder)
    closed_in(reader)
    assert len(segments(journal.folder)) == 1
    lines, _ = JournalReader(journal.folder).lines(100)
    assert [line.kind for line in lines[:2]] == [LineKind.OPENED, LineKind.PROGRESS]
    assert orjson.loads(lines[1].json) == {"id": str(long), "output_tokens": 2}
    assert journal.open_records == 1


def test_what_follows_a_torn_line_is_readable(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = new_text_id(), new_text_id()
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[: len(data) // 2]))
    with pytest.raises(OSError, match="took"):
        journal.opened(first, entry(first))
    assert journal.open_records == 0
    monkeypatch.undo()
    journal.opened(second, entry(second))
    journal.closed(second, entry(second))
    assert closed_in(JournalReader(journal.folder)) == [str(second)]


def test_a_segment_that_cannot_be_begun_leaves_the_old_one_in_use(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = new_text_id()
    journal.opened(held, entry(held))
    journal._size = 10_000
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:5]))
    with pytest.raises(OSError, match="room"):
        journal.opened(new_text_id(), entry(new_text_id()))
    monkeypatch.undo()
    assert segments(journal.folder) == ["00000001.log"]
    journal.closed(held, entry(held))
    assert closed_in(JournalReader(journal.folder)) == [str(held)]


def refusing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As a full disk refuses."""

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, name, refuse)


def test_a_new_segment_without_any_room_leaves_the_old_one_in_use_and_nothing_open(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty segment would have the reader remove the one before it, which is still written to."""
    held = new_text_id()
    journal.opened(held, entry(held))
    journal._size = 10_000
    before = psutil.Process().num_fds()
    with monkeypatch.context() as full:
        refusing(full, "write")
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                journal.opened(new_text_id(), entry(new_text_id()))
    assert psutil.Process().num_fds() == before
    assert segments(journal.folder) == ["00000001.log"]
    reader = JournalReader(journal.folder)
    assert closed_in(reader) == []
    journal.closed(held, entry(held))
    assert closed_in(reader) == [str(held)]


@pytest.mark.parametrize("refused", ["mkdir", "open", "rename"])
def test_one_that_cannot_be_made_is_made_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    with monkeypatch.context() as full:
        refusing(full, refused)
        journal = Journal(tmp_path)
        assert journal.is_refused
        with pytest.raises(OSError, match="No space left"):
            journal.opened(new_text_id(), b"{}")
        with pytest.raises(OSError, match="No space left"):
            journal.try_disk()
        assert closed_in(JournalReader(journal.folder)) == []
    journal.try_disk()
    assert not journal.is_refused
    assert list(orphans(tmp_path)) == []
    record_id = new_text_id()
    journal.opened(record_id, entry(record_id))
    journal.closed(record_id, entry(record_id))
    assert closed_in(JournalReader(journal.folder)) == [str(record_id)]
    journal.close(is_settled=True)
    assert list(tmp_path.iterdir()) == []


def test_one_that_was_never_made_can_be_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        refusing(full, "mkdir")
        journal = Journal(tmp_path)
    journal.close(is_settled=True)
    assert list(tmp_path.iterdir()) == []


def test_the_disk_is_tried_where_it_has_refused_a_line_or_has_no_block_left(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    size = (journal.folder / "00000001.log").stat().st_size
    journal.try_disk()
    assert (journal.folder / "00000001.log").stat().st_size == size, "nothing is written where there is room"
    monkeypatch.setattr(inference_journal, "_room_bytes", lambda _folder: 0)
    with monkeypatch.context() as full:
        refusing(full, "write")
        with pytest.raises(OSError, match="No space left"):
            journal.try_disk()
    assert journal.is_refused
    journal.try_disk()
    assert not journal.is_refused
    record_id = new_text_id()
    journal.closed(record_id, entry(record_id))
    assert closed_in(JournalReader(journal.folder)) == [str(record_id)]
    assert caplog.text == "", "no reader takes the blank lines for torn ones"


def test_damage_is_passed_over(journal: Journal) -> None:
    before, after = new_text_id(), new_text_id()
    journal.closed(before, entry(before))
    path = journal.folder / "00000001.log"
    with path.open("ab") as file:
        file.write(b"\0" * 700_000 + b"\nnot a line\nc 00000000 {}\n")
    journal.closed(after, entry(after))
    assert closed_in(JournalReader(journal.folder)) == [str(before), str(after)]


def test_an_orphan_is_found_once_its_owner_is_gone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert list(orphans(tmp_path)) == []
    journal.opened(new_text_id(), b"{}")
    journal.close(is_settled=True)  # a request is open: nothing is removed
    [orphan] = orphans(tmp_path)
    assert list(orphans(tmp_path)) == []  # it has an owner again
    orphan.release()
    [orphan] = orphans(tmp_path)
    orphan.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_settled_journal_is_removed_by_its_owner(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.opened(record_id := new_text_id(), b"{}")
    journal.closed(record_id, b"{}")
    journal.close(is_settled=True)
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_can_read_it(journal: Journal) -> None:
    assert journal.folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in journal.folder.iterdir())
