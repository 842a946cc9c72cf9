"""The real command in a process of its own: with pipes, or at a terminal."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from tests.cli.scripted_api import API_KEY
from tests.patience import GIVE_UP_S

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "cli"]

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environment(home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the caller's settings; the code of this checkout."""
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "TERM": "xterm-256color",
        "PYTHONPATH": str(ROOT), "QUARTERDECK_HOME": str(home), **settings,
    }  # fmt: skip


class CommandLine:
    """The command with the address and the key of one API in its environment."""

    def __init__(self, home: Path, settings: dict[str, str]) -> None:
        self.home = home
        self.settings = settings
        self.started: list[subprocess.Popen[str]] = []

    def run(self, *arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **settings)
        out, err = process.communicate(stdin, timeout=GIVE_UP_S)
        assert API_KEY not in out + err
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        return self.start_python("-m", "cli", *arguments, **settings)

    def start_python(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment(self.home, self.settings | settings), cwd=self.home,
        )  # fmt: skip
        self.started.append(process)
        return process

    def terminal(self, *arguments: str, **settings: str) -> Terminal:
        return Terminal(*arguments, env=environment(self.home, self.settings | settings), cwd=self.home)

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


class Terminal:
    """A command at a pseudo-terminal of 140 columns. A context manager: nothing survives it."""

    def __init__(self, *arguments: str, env: Mapping[str, str], cwd: Path) -> None:
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=slave, stdout=slave, stderr=slave, env=dict(env), cwd=cwd,
            start_new_session=True, preexec_fn=_take_terminal,  # noqa: PLW1509  (the child of a single-purpose process)
        )  # fmt: skip
        os.close(slave)
        self.raw = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(GIVE_UP_S)
        os.close(self.master)

    @property
    def text(self) -> str:
        """What was written, without escape sequences."""
        return _ESCAPES.sub("", self.raw)

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def answer(self, keys: str) -> None:
        """Types once the command waits for it, as a person would.

        Python loses a Ctrl-C that comes between the text of a question and the read behind it: the next key shows it.
        """
        eventually(self._waits)
        self.type(keys)

    def until(self, expected: str, limit_s: float = GIVE_UP_S) -> None:
        """Reads until `expected` was written. Fails with what was written instead."""
        deadline = time.monotonic() + limit_s
        while expected not in self.text:
            if not self._read(deadline):
                raise AssertionError(f"{expected!r} never came; this did:\n{self.text}")

    def exit_code(self, limit_s: float = GIVE_UP_S) -> int:
        """Reads to the end. Fails when the command does not end in time."""
        deadline = time.monotonic() + limit_s
        while self._read(deadline):
            pass
        return self.process.wait(max(deadline - time.monotonic(), 0.1))

    def _waits(self) -> bool:
        """Whether the command slept through a tenth of a second."""
        before = _activity(self.process.pid)
        time.sleep(0.1)
        return before == _activity(self.process.pid) and before[0] == "S"

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return False
        try:
            chunk = os.read(self.master, 65_536)
        except OSError:  # Linux reports the closed other end of a terminal so
            return False
        self.raw += chunk.decode(errors="replace")
        return bool(chunk)


def _activity(pid: int) -> tuple[str, str, str]:
    """State and processor time, user's and system's: fields 3, 14 and 15 of proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], fields[11], fields[12]


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def eventually(condition: Callable[[], object], limit_s: float = GIVE_UP_S) -> None:
    """Waits until `condition` holds. Fails when it does not in time."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
