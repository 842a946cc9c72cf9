"""The agent's log stays short, and takes along what is written past the logging: by a library, or at the end of the interpreter."""

import subprocess
import sys
from pathlib import Path

CHATTY = """
import logging, os, sys
from pathlib import Path
from node import logs
logs.LOG_BYTES = 20_000
logs.start_log(Path(sys.argv[1]), adopt_standard_streams=True)
for number in range(int(sys.argv[2])):
    logging.info("logged %d", number)
    os.write(1, b"to standard output %d\\n" % number)
    print("to standard error", number, file=sys.stderr, flush=True)
"""


def chatty(folder: Path, lines: int) -> None:
    with (folder / "agent.log").open("ab") as log:  # as the provider `local` starts it
        subprocess.run([sys.executable, "-c", CHATTY, str(folder), str(lines)], stdout=log, stderr=log, check=True)


def test_no_line_is_lost_when_the_log_is_rotated(tmp_path: Path) -> None:
    chatty(tmp_path, 600)
    names = ["agent.log.2", "agent.log.1", "agent.log"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    lines = [line for name in names for line in (tmp_path / name).read_text().splitlines()]
    for said in ("INFO logged", "to standard output", "to standard error"):
        assert [int(line.rpartition(" ")[2]) for line in lines if said in line] == list(range(600))


def test_older_ones_go(tmp_path: Path) -> None:
    chatty(tmp_path, 3_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.log", "agent.log.1", "agent.log.2"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3 * 20_000 + 1_000
    assert (tmp_path / "agent.log").read_text().splitlines()[-1] == "to standard error 2999"
