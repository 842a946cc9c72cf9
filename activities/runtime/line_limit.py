"""Log lines that callers can provoke: a few of each kind in a minute, and how many were left out."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

PER_MINUTE = 10
WINDOW_S = 60.0
KINDS = 100
"""Most kinds of lines that are counted."""


def text_of(record: logging.LogRecord) -> str:
    """The kind of a line where all of a logger's lines can be provoked: its text before anything is put into it."""
    return str(record.msg)


def text_of_warnings(record: logging.LogRecord) -> str | None:
    """So that errors are never left out."""
    return text_of(record) if record.levelno < logging.ERROR else None


@dataclass(slots=True)
class _Window:
    began_s: float
    level: int
    passed: int = 0
    left_out: int = 0


class LineLimit(logging.Filter):
    """For a logger: lines pass ten times a minute and kind. `kind_of` is None for a line that is never left out."""

    def __init__(
        self,
        logger: logging.Logger,
        kind_of: Callable[[logging.LogRecord], str | None] = text_of_warnings,
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._logger = logger
        self._kind_of = kind_of
        self._now_s = now_s
        self._windows: dict[str, _Window] = {}
        self._lock = threading.RLock()  # workflows run in threads

    def begin(self) -> None:
        self._logger.addFilter(self)

    def end(self) -> None:
        self._logger.removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        kind = self._kind_of(record)
        if kind is None:
            return True
        with self._lock:
            return self._passes(kind, record.levelno)

    def _passes(self, kind: str, level: int) -> bool:
        now_s = self._now_s()
        window = self._windows.get(kind)
        if window is None or now_s - window.began_s >= WINDOW_S:
            self.tell()
            if len(self._windows) >= KINDS:
                return False
            window = self._windows[kind] = _Window(now_s, level)
        if window.passed < PER_MINUTE:
            window.passed += 1
            return True
        window.left_out += 1
        return False

    def tell(self) -> None:
        """Say what was left out of the windows that are over. To be called every now and then."""
        with self._lock:
            self._tell(self._now_s())

    def _tell(self, now_s: float) -> None:
        over = [kind for kind, window in self._windows.items() if now_s - window.began_s >= WINDOW_S]
        for kind in over:
            window = self._windows.pop(kind)
            if window.left_out:
                text = f"{window.left_out} more lines in {now_s - window.began_s:.0f} s like: {kind}"
                record = self._logger.makeRecord(self._logger.name, window.level, __name__, 0, text, (), None)
                if self._logger.isEnabledFor(window.level):
                    self._logger.callHandlers(record)
