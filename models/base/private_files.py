"""Files that hold a secret or decide something: believed only when nobody else can have written or read them."""

import os
import stat
from pathlib import Path

OTHERS = 0o077
WRITABLE_BY_OTHERS = 0o022
ROOT_UID = 0


class NotPrivate(Exception):
    """The file or folder is not believed. The message is one line, names the path and holds nothing of the content."""


def check_folder(path: Path) -> None:
    """Raises NotPrivate for a folder of somebody else than us or root, or that others can write to. A group is others.

    Whoever may write to a folder can put another one in the place of each file in it. Raises OSError where there is none.
    """
    found = path.stat()
    if found.st_uid not in {os.geteuid(), ROOT_UID}:
        raise NotPrivate(f"{path} belongs to another user: run this as that user")
    if found.st_mode & WRITABLE_BY_OTHERS:
        raise NotPrivate(f"{path} can be written by others: if it is yours, `chmod go-w {path}`")


def read_private(path: Path) -> str:
    """The text of a regular file that belongs to us or to root and whose mode gives nothing to group or others.

    A clone cannot bring such a file along: git makes none of mode 0600. An archive can, if who unpacks it keeps its modes.
    The descriptor is judged, not the name. Raises NotPrivate, OSError, and UnicodeDecodeError (a ValueError).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO in its place does not hold us up
    with os.fdopen(descriptor, encoding="utf-8") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NotPrivate(f"{path} is not a regular file")
        if found.st_uid not in {os.geteuid(), ROOT_UID}:
            raise NotPrivate(f"{path} belongs to another user")
        if found.st_mode & OTHERS:
            mode = stat.S_IMODE(found.st_mode)
            raise NotPrivate(f"{path} is open to others (mode {mode:04o}): if it is yours, `chmod 600 {path}`")
        return file.read()
