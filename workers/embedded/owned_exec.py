"""Becomes another program that does not outlive its starter: `owned_exec.py PARENT SIGNAL UID GID -- PROGRAM [ARGUMENT...]`.

A started program would run on unowned when its supervisor is killed with SIGKILL, since nobody is left to stop it. Linux
sends SIGNAL to it in that case (`PR_SET_PDEATHSIG`, prctl(2)). The request is lost when credentials change and kept over an
execve, so privileges are dropped first. UID and GID are numbers, or `-` to stay who we are. Elsewhere than on Linux only the
next `quarterdeck up` finds and ends such a program.

Run as a script by a Python without site-packages: it imports nothing but the standard library.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
FIXED_ARGUMENTS = 5


def end_with_parent(signal_number: int) -> None:
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def default_signals() -> None:
    """What an execve passes on and nobody here asked for: what our starter ignored or blocked (`nohup`, `trap "" INT`, `&`)."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) in {signal.SIG_IGN, signal.default_int_handler}:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def main(arguments: list[str]) -> None:
    parent, signal_number, uid, gid, _ = arguments[:FIXED_ARGUMENTS]
    program = arguments[FIXED_ARGUMENTS:]
    default_signals()
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    end_with_parent(int(signal_number))
    if os.getppid() != int(parent):  # it died before the request was made
        return
    os.execv(program[0], program)  # noqa: S606  (no shell is the point)


if __name__ == "__main__":
    main(sys.argv[1:])
