"""What a starter ignored or blocked, and an execve passed on: `trap "" INT`, a shell's `&`, one that blocks while it forks."""

import signal

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
