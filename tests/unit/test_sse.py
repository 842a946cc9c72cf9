"""Server-sent events as they are on the wire, byte by byte (contract/fleet.md 12)."""

import pytest

from api.http.sse import KEEPALIVE, SseEvent


@pytest.mark.parametrize(
    ("event", "written"),
    [
        (SseEvent("hello", {"ok": True}, 7), b'event: hello\nid: 7\ndata: {"ok":true}\n\n'),
        (SseEvent("hello", {"ok": True}, 0), b'event: hello\nid: 0\ndata: {"ok":true}\n\n'),
        (SseEvent("resync", {"after": None}), b'event: resync\ndata: {"after":null}\n\n'),
        (
            SseEvent("log", {"line": "a\r\nb\u2028c é"}, 1),
            'event: log\nid: 1\ndata: {"line":"a\\r\\nb\u2028c é"}\n\n'.encode(),
        ),
        (SseEvent("log", [], 2**63 - 1), b"event: log\nid: 9223372036854775807\ndata: []\n\n"),
    ],
)
def test_an_event_is_its_kind_its_id_and_one_line_of_json(event: SseEvent, written: bytes) -> None:
    assert event.encode() == written


def test_a_keepalive_is_a_comment() -> None:
    assert KEEPALIVE == b": keepalive\n\n"
