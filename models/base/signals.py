"""What a starter ignored or blocked, and an execve passed on: `trap "" INT`, a shell's `&`, one that blocks while it forks."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

PYTHON_IGNORES = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
"""A write that fails raises instead (docs.python.org/3/library/signal.html)."""


def restore_signals() -> None:
    """For this process, and what it starts: nothing is blocked, and nothing ignored that Python does not ignore itself.

    A hang-up stays ignored, for that is what `nohup` is for. Call it in the main thread, before others are started.
    """
    for number in signal.valid_signals() - PYTHON_IGNORES - {signal.SIGHUP}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@contextmanager
def ending_when_told() -> Iterator[None]:
    """Inside, until somebody listens: SIGTERM, Ctrl-C and a hang-up that is not ignored end this process, as if it stopped (0).

    By default they would, too, but for the first process of a container: the kernel keeps from it what it does not handle.
    """
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, _end) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
