"""Lines that were numbered by who wrote them, over all the files that a log has become."""

from pathlib import Path

from tests.needs import need
from workers.embedded import part_logs


def files_of(log: Path) -> list[Path]:
    """From the oldest to the one that is written to."""
    older = [path for path in log.parent.glob(f"{log.name}.*") if path.suffix[1:].isdecimal()]
    return [*sorted(older, key=lambda path: -int(path.suffix[1:])), log]


def numbers_in(log: Path, *, marked: str = "line ", of_others: bool = False) -> list[int]:
    """Of the lines that a writer numbered, in order. None is torn; what is none of them says that earlier ones are elsewhere,
    or is blank, unless others write there too.
    """
    found = []
    for path in files_of(log):
        text = path.read_text()
        assert not text or text.endswith("\n"), f"{path.name} ends within a line"
        for line in text.splitlines():
            _, _, written = line.partition(marked)
            if written:
                number, _, rest = written.partition(" ")
                assert rest == "x" * (int(number) % 150), "a line is torn"
                found.append(int(number))
            elif not of_others:
                assert not line.strip() or line.strip() == f"-- earlier lines are in {log.name}.1 --", line
    return found


def need_to_collapse(folder: Path) -> None:
    file = folder / "probe"
    with file.open("wb") as probe:
        probe.write(b"x" * 200_000)
        probe.flush()
        present = part_logs._collapse(probe.fileno(), 131_072)
    file.unlink()
    need(present=present, what="a file system that can collapse a range", install="put TMPDIR on ext4 or XFS")
