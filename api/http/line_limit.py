"""Log lines that callers can provoke: a few of each kind in a minute, and how many were left out."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

PER_MINUTE = 10
WINDOW_S = 60.0
KINDS = 100
"""Most kinds of lines that are counted; a line's kind is its text before anything is put into it."""


@dataclass(slots=True)
class _Window:
    began_s: float
    level: int
    passed: int = 0
    left_out: int = 0


class LineLimit(logging.Filter):
    """For a logger: warnings and what is less pass ten times a minute and kind. Errors are never left out."""

    def __init__(self, logger: logging.Logger, *, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._logger = logger
        self._now_s = now_s
        self._windows: dict[str, _Window] = {}

    def begin(self) -> None:
        self._logger.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return True
        kind, now_s = str(record.msg), self._now_s()
        window = self._windows.get(kind)
        if window is None or now_s - window.began_s >= WINDOW_S:
            self.tell()
            if len(self._windows) >= KINDS:
                return False
            window = self._windows[kind] = _Window(now_s, record.levelno)
        if window.passed < PER_MINUTE:
            window.passed += 1
            return True
        window.left_out += 1
        return False

    def tell(self) -> None:
        """Say what was left out of the windows that are over. To be called every now and then."""
        now_s = self._now_s()
        over = [kind for kind, window in self._windows.items() if now_s - window.began_s >= WINDOW_S]
        for kind in over:
            window = self._windows.pop(kind)
            if window.left_out:
                text = f"{window.left_out} more lines in {now_s - window.began_s:.0f} s like: {kind}"
                record = self._logger.makeRecord(self._logger.name, window.level, __name__, 0, text, (), None)
                if self._logger.isEnabledFor(window.level):
                    self._logger.callHandlers(record)
