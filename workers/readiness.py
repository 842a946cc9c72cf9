"""How a program without a port tells its supervisor that it works: by creating the file that `QUARTERDECK_READY_FILE` names."""

import os
from pathlib import Path

READY_FILE_VARIABLE = "QUARTERDECK_READY_FILE"


def announce_ready() -> None:
    """Call it once everything is polled or served. Nothing happens where no supervisor asked.

    The file is empty: a full disk has no room for a word in it.
    """
    path = os.environ.get(READY_FILE_VARIABLE)
    if path:
        Path(path).touch()
