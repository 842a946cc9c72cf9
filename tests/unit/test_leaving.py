"""How a process ends: with its status, and with all that it said, whatever threads are left."""

import subprocess
import sys
from pathlib import Path

import pytest

from models.base.leaving import THREADED, UNWRITTEN
from tests.patience import GIVE_UP_S

LOADED = f"import {THREADED}"
TRAP = "import atexit, os; atexit.register(os.abort)"
"""What a thread of the client does to a process that is being taken down."""


def end(program: str, **streams: int) -> subprocess.CompletedProcess[str]:
    program = f"{program}\nfrom models.base.leaving import leave\nprint('the last word')\nleave(3)"
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    argv = [sys.executable, "-E", "-c", program]  # -E: written when it is flushed, whatever the shell says
    return subprocess.run(argv, text=True, timeout=GIVE_UP_S, check=False, **options)  # type: ignore[call-overload, no-any-return]  # streams


def test_a_process_that_used_the_client_is_not_taken_down() -> None:
    done = end(f"{LOADED}\n{TRAP}")
    assert (done.returncode, done.stdout, done.stderr) == (3, "the last word\n", "")


def test_any_other_ends_as_ever() -> None:
    done = end("import atexit; atexit.register(print, 'registered')")
    assert (done.returncode, done.stdout) == (3, "the last word\nregistered\n")


@pytest.mark.parametrize("loaded", ["", LOADED])
def test_words_that_cannot_be_written_are_in_the_status(loaded: str) -> None:
    with Path("/dev/full").open("w") as full:
        assert end(loaded, stdout=full.fileno()).returncode == UNWRITTEN
