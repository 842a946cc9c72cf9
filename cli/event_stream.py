"""Server-sent events, read as they arrive (WHATWG HTML, 9.2.6 "Interpreting an event stream")."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

EVENT_LIMIT_BYTES = 1_000_000
"""Longest line or event in bytes: a server that never ends one cannot fill the memory."""


class EventTooLarge(Exception):
    """A line or event above EVENT_LIMIT_BYTES."""


@dataclass(frozen=True)
class ServerSentEvent:
    """One event. `id` is the last id seen on the stream, which a reader resumes after; empty before the first."""

    kind: str
    data: str
    id: str = ""
    retry_ms: int | None = None


def lines_of(chunks: Iterable[bytes]) -> Iterator[str]:
    """Lines that end in CR, LF or CRLF and in nothing else: `str.splitlines` also splits inside JSON, at U+2028."""
    pending = b""
    for chunk in chunks:
        pending += chunk
        # A CR at the very end may be half of a CRLF: it waits for what follows.
        held = b"\r" if pending.endswith(b"\r") else b""
        *complete, pending = pending.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        pending += held
        if len(pending) > EVENT_LIMIT_BYTES:
            raise EventTooLarge
        for line in complete:
            yield line.decode("utf-8", errors="replace")
    if pending.endswith(b"\r"):
        yield pending.removesuffix(b"\r").decode("utf-8", errors="replace")


def events_of(chunks: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    """The events of a stream. Comments are skipped, and an event cut short by the end of the stream is none.

    Raises EventTooLarge.
    """
    kind, data, last_id, retry_ms = "", list[str](), "", None
    size = 0
    for line in lines_of(chunks):
        size += len(line)
        if size > EVENT_LIMIT_BYTES:
            raise EventTooLarge
        if not line:
            if data:
                yield ServerSentEvent(kind or "message", "\n".join(data), last_id, retry_ms)
            kind, data, retry_ms, size = "", [], None, 0
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif name == "id" and "\0" not in value:
            last_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            retry_ms = int(value)
