"""Requests that are none cost a node agent's log a few lines."""

import logging

from aiohttp.http_exceptions import BadHttpMessage

from node.malformed import PER_MINUTE, WINDOW_S, MalformedRequests


def test_ten_lines_a_minute_and_nothing_of_what_was_sent() -> None:
    now_s, lines = [0.0], list[str]()
    logger = logging.getLogger("malformed-in-tests")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    logger.addHandler(handler)
    limit = MalformedRequests(lambda: now_s[0])
    logger.addFilter(limit)
    logger.propagate = False

    def fail(error: Exception) -> None:
        try:
            raise error
        except Exception:
            logger.exception("Error handling request from %s", "127.0.0.1")

    for _ in range(PER_MINUTE + 30):
        fail(BadHttpMessage("a secret"))
    assert lines == ["a malformed request (BadHttpMessage); 0 more before"] * PER_MINUTE
    fail(ValueError("a fault of ours"))
    assert "a fault of ours" in lines[-1]
    now_s[0] = WINDOW_S
    fail(BadHttpMessage("a secret"))
    assert lines[-1] == "a malformed request (BadHttpMessage); 30 more before"
