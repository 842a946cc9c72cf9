"""Requests that are none cost the log of a node agent, or of the simulated cloud, a few lines."""

import logging
from types import ModuleType

import pytest
from aiohttp.http_exceptions import BadHttpMessage

from node import malformed as of_the_agent
from simcloud import malformed as of_the_simulated_cloud


@pytest.mark.parametrize("module", [of_the_agent, of_the_simulated_cloud])
def test_ten_lines_a_minute_and_nothing_of_what_was_sent(module: ModuleType) -> None:
    now_s, lines, per_minute = [0.0], list[str](), module.PER_MINUTE
    logger = logging.getLogger(f"malformed-in-tests-{module.__name__}")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    logger.addHandler(handler)
    limit = module.MalformedRequests(lambda: now_s[0])
    logger.addFilter(limit)
    logger.propagate = False

    def fail(error: Exception) -> None:
        try:
            raise error
        except Exception:
            logger.exception("Error handling request from %s", "127.0.0.1")

    for _ in range(per_minute + 30):
        fail(BadHttpMessage("a secret"))
    assert lines == ["a malformed request (BadHttpMessage); 0 more before"] * per_minute
    fail(ValueError("a fault of ours"))
    assert "a fault of ours" in lines[-1]
    now_s[0] = module.WINDOW_S
    fail(BadHttpMessage("a secret"))
    assert lines[-1] == "a malformed request (BadHttpMessage); 30 more before"
