"""Server-sent events of an answer, as they arrive. How they are read is `httpx_sse`; that none fills the memory is ours."""

from collections.abc import Iterator
from typing import cast

import httpx
from httpx_sse import EventSource, ServerSentEvent

EVENT_LIMIT_CHARACTERS = 1_000_000
"""Longest line or event: a server that never ends one cannot fill the memory."""


class EventTooLarge(Exception):
    """A line or event above EVENT_LIMIT_CHARACTERS."""


def events_of(response: httpx.Response) -> Iterator[ServerSentEvent]:
    """The events of a stream, each with the last id seen on it. One that its end cuts short is none, nor is one without data.

    Raises EventTooLarge, httpx.TransportError; the latter also for an answer that is no such stream.
    """
    text = _Text(response)
    for event in EventSource(cast("httpx.Response", text)).iter_sse():
        text.since_event = 0
        if event.data:
            yield event


class _Text:
    """What the reader takes of a response, counted from one event or comment to the next."""

    def __init__(self, response: httpx.Response) -> None:
        self.headers = response.headers
        self.since_event = 0
        self._response = response

    def iter_text(self) -> Iterator[str]:
        for text in self._response.iter_text():
            self.since_event += len(text)
            if self.since_event > EVENT_LIMIT_CHARACTERS:
                raise EventTooLarge
            yield text
            if text.endswith("\n\n"):
                self.since_event = 0
