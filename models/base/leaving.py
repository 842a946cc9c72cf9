"""The end of a process that has used the workflow engine's client."""

import logging
import os
import sys
from typing import Final, NoReturn

THREADED: Final = "temporalio.bridge.temporal_sdk_bridge"
UNWRITTEN: Final = 120
"""The status with which Python itself ends where the last words could not be written."""


def leave(code: int) -> NoReturn:
    """End this process with `code`, as `sys.exit` does where the client was never loaded.

    Where it was, without the interpreter's last steps: the client's threads cannot be ended, and one that comes back to an
    interpreter which is being taken down aborts the process, after work well done (temporalio/sdk-python, issue 300).
    """
    if THREADED not in sys.modules:
        sys.exit(code)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            code = UNWRITTEN
    os._exit(code)
