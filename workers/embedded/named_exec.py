"""Becomes another program, as a user who has a name: `named_exec.py UID -- PROGRAM [ARGUMENT...]`.

A container may run us with any uid, one without an entry in /etc/passwd too. initdb(1) looks its name up and gives up without
one. In a user namespace of its own it sees itself as UID, a number that has an entry here; what it makes belongs to us as ever,
for it is we who do it (user_namespaces(7): whoever makes one may map its own uid to any).

Run as a script by a Python without site-packages: it imports nothing but the standard library.
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
FIXED_ARGUMENTS = 2
REFUSED = 77
"""Exit status where the system does not let us, such as Docker's default profile (sysexits.h, EX_NOPERM)."""


def become(uid: int) -> None:
    """Raises OSError where there are no user namespaces, or none for us."""
    ourselves = os.geteuid()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER)")
    Path("/proc/self/uid_map").write_text(f"{uid} {ourselves} 1")


def main(arguments: list[str]) -> None:
    uid, program = int(arguments[0]), arguments[FIXED_ARGUMENTS:]
    try:
        become(uid)
    except OSError:
        sys.exit(REFUSED)
    os.execv(program[0], program)  # noqa: S606  (no shell is the point)


if __name__ == "__main__":
    main(sys.argv[1:])
