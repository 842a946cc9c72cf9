"""Server-sent events, however the network cuts them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import httpx
import pytest
from httpx_sse import ServerSentEvent
from hypothesis import given
from hypothesis import strategies as st

from cli import event_stream
from cli.event_stream import EventTooLarge, events_of

STREAM = (
    b": keepalive\r\n\r\nevent: hello\ndata: {}\n\nid: 7\revent: a\rdata: one\rdata:two\r\r"
    + 'data: {"t": "a\u2028b\u0085c"}\n\n'.encode()
    + b"id: 8\r\ndata: last\r\n\r\ndata: cut short\n"
)
EVENTS = [
    ("hello", "{}", ""),
    ("a", "one\ntwo", "7"),
    ("message", '{"t": "a\u2028b\u0085c"}', "7"),
    ("message", "last", "8"),
]


def answer(chunks: Iterable[bytes], content_type: str = "text/event-stream; charset=utf-8") -> httpx.Response:
    return httpx.Response(200, headers={"content-type": content_type}, content=iter(chunks))


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_chunks_may_end_anywhere(cuts: list[int]):
    edges = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in pairwise(edges)]
    assert [(event.event, event.data, event.id) for event in events_of(answer(chunks))] == EVENTS


@given(st.lists(st.binary(max_size=50)))
def test_no_bytes_break_the_reader(chunks: list[bytes]):
    assert all(isinstance(event, ServerSentEvent) for event in events_of(answer(chunks)))


def test_an_id_stays_until_the_next_one_and_nul_is_none():
    read = list(events_of(answer([b"id: 3\ndata: a\n\ndata: b\n\nid: 4\0\ndata: c\n\n"])))
    assert [event.id for event in read] == ["3", "3", "3"]


def test_an_event_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(event_stream, "EVENT_LIMIT_CHARACTERS", 1000)
    for endless in ([b"data: x" * 100] * 50, [b"data: x\n"] * 1000):
        with pytest.raises(EventTooLarge):
            list(events_of(answer(endless)))


def test_many_events_and_comments_are_no_event_without_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(event_stream, "EVENT_LIMIT_CHARACTERS", 1000)
    assert len(list(events_of(answer([b": keepalive\n\n"] * 200 + [b"data: x\n\n"] * 200)))) == 200


def test_a_page_is_no_stream():
    with pytest.raises(httpx.TransportError):
        list(events_of(answer([b"data: x\n\n"], "text/html")))
