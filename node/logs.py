"""The agent's log: lines about what the agent does. Requests, prompts, tokens and keys never enter it."""

import logging
import os
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

LOG_FILE = "agent.log"
LOG_BYTES = 10 * 1024 * 1024


class _RotatingLog(RotatingFileHandler):
    """Takes standard output and error along when it rotates; they would go on writing into the renamed file."""

    def doRollover(self) -> None:  # noqa: N802 - the name is the library's
        super().doRollover()
        self.adopt_standard_streams()

    def adopt_standard_streams(self) -> None:
        if self.stream is not None:
            for descriptor in (1, 2):
                os.dup2(self.stream.fileno(), descriptor)


def start_log(home: Path, *, adopt_standard_streams: bool) -> None:
    handler = _RotatingLog(home / LOG_FILE, maxBytes=LOG_BYTES, backupCount=2, encoding="utf-8")
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    if adopt_standard_streams:
        handler.adopt_standard_streams()
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(handler)
