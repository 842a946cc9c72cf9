"""Server-sent events, however the network cuts them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import event_stream
from cli.event_stream import EventTooLarge, ServerSentEvent, events_of

STREAM = (
    b": keepalive\r\n\r\nevent: hello\ndata: {}\n\nid: 7\revent: a\rdata: one\rdata:two\r\r"
    + 'data: {"t": "a\u2028b\u0085c"}\n\n'.encode()
    + b"id: 8\r\ndata: last\r\n\r\ndata: cut short\n"
)
EVENTS = [
    ServerSentEvent("hello", "{}"),
    ServerSentEvent("a", "one\ntwo", "7"),
    ServerSentEvent("message", '{"t": "a\u2028b\u0085c"}', "7"),
    ServerSentEvent("message", "last", "8"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_chunks_may_end_anywhere(cuts: list[int]):
    edges = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in pairwise(edges)]
    assert list(events_of(chunks)) == EVENTS


@given(st.lists(st.binary(max_size=50)))
def test_no_bytes_break_the_reader(chunks: list[bytes]):
    assert all(isinstance(event, ServerSentEvent) for event in events_of(chunks))


def test_an_id_stays_until_the_next_one_and_nul_is_none():
    read = list(events_of([b"id: 3\ndata: a\n\ndata: b\n\nid: 4\0\ndata: c\n\n"]))
    assert [event.id for event in read] == ["3", "3", "3"]


def test_an_event_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(event_stream, "EVENT_LIMIT_BYTES", 1000)
    for endless in ([b"data: x" * 100] * 50, [b"data: x\n"] * 1000):
        with pytest.raises(EventTooLarge):
            list(events_of(endless))
