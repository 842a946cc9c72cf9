"""What `up` says, wherever it goes: no terminal that is gone, no pipe that nobody reads and no full disk stops anything."""

import contextlib
import os
import queue
import threading

STANDARD_INPUT, STANDARD_OUTPUT, STANDARD_ERROR = 0, 1, 2
CLOSE_S = 1.0
"""What nobody takes within this time after the end is left unsaid."""


class Voice:
    """Lines to standard output and standard error. A thread writes them: a terminal that is held (Ctrl-S) holds up itself alone.

    It writes to the descriptors: what waits in a buffer of Python's would be in the way of the end of the process.
    """

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="voice", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        self._lines.put((STANDARD_OUTPUT, text))

    def complain(self, text: str) -> None:
        self._lines.put((STANDARD_ERROR, f"quarterdeck: {text}"))

    def close(self) -> None:
        """Returns once everything is said, or could not be in a second."""
        self._lines.put(None)
        self._thread.join(CLOSE_S)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            descriptor, text = line
            rest = memoryview(f"{text}\n".encode(errors="replace"))
            with contextlib.suppress(OSError):  # nobody hears it: EPIPE, EIO, ENOSPC
                while rest:
                    rest = rest[os.write(descriptor, rest) :]


def open_standard_streams() -> None:
    """Standard input, output and error are open, to nothing where our starter closed them.

    The next file to be opened would take the free number, and be written into by whoever means standard output.
    """
    for descriptor in (STANDARD_INPUT, STANDARD_OUTPUT, STANDARD_ERROR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
