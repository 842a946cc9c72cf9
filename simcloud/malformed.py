"""What the log says about requests that are none: aiohttp would write an error with a traceback, and what was sent, for each."""

import logging
import time
from collections.abc import Callable

from aiohttp.http_exceptions import HttpProcessingError

PER_MINUTE = 10
WINDOW_S = 60.0


class MalformedRequests(logging.Filter):
    """For the logger of aiohttp's server: ten lines a minute, the first of the next minute with the number of those left out."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now_s = now_s
        self._began_s = float("-inf")
        self._seen = 0

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        if kind is None or not issubclass(kind, HttpProcessingError):
            return True
        left_out = 0
        if self._now_s() - self._began_s >= WINDOW_S:
            left_out = max(0, self._seen - PER_MINUTE)
            self._began_s, self._seen = self._now_s(), 0
        self._seen += 1
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args, record.exc_info = (
            "a malformed request (%s); %d more before",
            (kind.__name__, left_out),
            None,
        )
        return self._seen <= PER_MINUTE
