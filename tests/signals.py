"""A starter that ignores and blocks signals, and what a process that was started makes of it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNWANTED = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGUSR1})
PYTHON_IGNORES = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1

# Signals that programs can name. Below `make` the C library's own two are ignored as well: its posix_spawn leaves them so.
_NAMEABLE = sum(1 << number - 1 for number in signal.valid_signals())


@contextmanager
def ignored_and_blocked(*more: signal.Signals) -> Iterator[None]:
    """What is started inside inherits it, as below `nohup`, `trap "" INT` or a shell's `&`."""
    numbers = UNWANTED | set(more)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def heard(number: signal.Signals) -> Iterator[None]:
    """What is started inside does not ignore it, although the tests may run under `nohup`."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)


def blocked_and_ignored_by(pid: int | str = "self") -> tuple[int, int]:
    """As the kernel shows it, one bit a signal (proc_pid_status(5))."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["SigBlk"], 16) & _NAMEABLE, int(status["SigIgn"], 16) & _NAMEABLE
