"""Names of files that survive a power cut."""

import os
from pathlib import Path


def flush_folder(folder: Path) -> None:
    """What was made, renamed or removed in it is on the disk when this returns. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
