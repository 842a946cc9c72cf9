"""Files that survive a kill at any moment: written beside, flushed, renamed; those of others are not believed."""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

OTHERS = 0o077
ROOT_UID = 0


class NotPrivate(ValueError):
    """Somebody else can have written or read the file. The message is one line and holds nothing of the content."""


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Replace `path` atomically (mode 0600). A reader sees the old content or the new, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:  # what a full disk has taken of it would be in the way of others
        beside.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, object] | None:
    """The object in `path`, or None where there is no file.

    Raises ValueError for anything but a JSON object; NotPrivate, which is one, before the content is looked at.
    """
    try:
        descriptor = os.open(
            path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        )  # a FIFO in its place does not hold us up
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, encoding="utf-8") as file:
        found = os.fstat(descriptor)
        is_ours = stat.S_ISREG(found.st_mode) and found.st_uid in {os.geteuid(), ROOT_UID}
        if not is_ours or found.st_mode & OTHERS:
            raise NotPrivate(f"{path.name} is open to others or not ours: if it is meant, `chmod 600` it")
        value = json.load(file)
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} does not hold a JSON object")  # noqa: TRY004 - one error for every bad content
    return value
