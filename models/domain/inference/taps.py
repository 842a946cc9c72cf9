"""What passes from the model server to the caller, read on the way: the bytes go on at once, the usage stays here.

A stream is read by `StreamTap` as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html, section
9.2.5), any other body by `BodyTap`.
"""

import re
from typing import Any, Protocol

import orjson

from models.domain.inference.usage import Usage, answer_characters, estimated_tokens, reported_usage

BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
"""Two ends of line in a row end an event; the groups are atomic, so that one CRLF is never taken for two ends."""

LONGEST_HELD_BYTES = 65_536
"""An unfinished event longer than this is no usage chunk, which has some 300 bytes: it is passed on in the pieces it comes in."""

MOST_CHOICES = 1_024
"""Choices of one stream that are told apart. OpenAI's API makes at most 128; a server that counts on costs no memory."""

WHOLE_BODY_BYTES = 262_144
"""A longer body is not kept to be parsed; its usage is found if it is in the last `TAIL_BYTES`."""
TAIL_BYTES = 65_536
USAGE_NAME = b'"usage"'
USAGE_FIELD = re.compile(rb'"usage"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')


class Tap(Protocol):
    """`feed` returns what goes on to the caller now (maybe nothing), `end` what was still held when the upstream finished."""

    @property
    def usage(self) -> Usage | None: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def has_failed(self) -> bool: ...
    def feed(self, chunk: bytes) -> bytes: ...
    def end(self) -> bytes: ...


class StreamTap:
    """Reads a stream of chat or text completion chunks.

    With `strip_usage` the chunk that exists only because we asked for it (no choices, a usage object) does not go on; an event is
    then held until its end has come. Without it every byte goes on as it arrives. Usage that comes with content stays in place.
    Servers that repeat running totals are counted by the last.
    """

    def __init__(self, *, strip_usage: bool) -> None:
        self.usage: Usage | None = None
        self.has_failed = False
        self._strips = strip_usage
        self._held = b""
        self._is_passing = False  # the event in progress is too long to be held
        self._ended_in_cr = False  # a line feed that comes next still belongs to the event before
        self._dropped_last = False
        self._content_events = 0
        self._characters = 0
        self._is_done = False
        self._is_last_unread = False
        self._begun: set[int] = set()
        self._finished: set[int] = set()

    @property
    def output_tokens(self) -> int:
        """Estimate of what has passed: servers send about a token per event, those that bundle are caught by the characters."""
        return max(self._content_events, estimated_tokens(self._characters))

    @property
    def is_complete(self) -> bool:
        """True when the server has said that this is all: by `[DONE]`, or by a reason for the end of each choice that began.

        Some servers leave out the one or the other. An event that was too long to be read may have held the reason.
        """
        return self._is_done or self._is_last_unread or (bool(self._finished) and self._begun <= self._finished)

    @property
    def is_inside_event(self) -> bool:
        """True when the caller has been given the beginning of an event and not its end."""
        return bool(self._held) and (not self._strips or self._is_passing)

    def feed(self, chunk: bytes) -> bytes:
        passed = self._split(chunk)
        return passed if self._strips else chunk

    def end(self) -> bytes:
        """An event without its blank line: incomplete by the standard, yet not ours to swallow, unless it is the usage chunk."""
        if self._is_passing or not self._held:
            return b""
        is_ours = self._read(self._held)
        return self._held if self._strips and not is_ours else b""

    def _split(self, chunk: bytes) -> bytes:
        passed: list[bytes] = []
        if self._ended_in_cr and chunk[:1] == b"\n":
            passed.append(b"" if self._dropped_last else b"\n")
            chunk = chunk[1:]
        if not chunk:
            return b"".join(passed)
        self._ended_in_cr = False
        data, start = self._held + chunk, 0
        already_passed = len(self._held) if self._is_passing else 0
        for blank in BLANK_LINE.finditer(data, max(0, len(self._held) - 2)):
            event = data[start : blank.end()]
            self._is_last_unread = self._is_passing
            self._dropped_last = not self._is_passing and self._read(event) and self._strips
            if not self._dropped_last:
                passed.append(event[already_passed:])
            already_passed, self._is_passing, start = 0, False, blank.end()
        self._ended_in_cr = start == len(data) and data[-1:] == b"\r"
        passed.append(self._hold(data[start:], already_passed))
        return b"".join(passed)

    def _hold(self, rest: bytes, already_passed: int) -> bytes:
        """Keep the unfinished event, or only its last bytes once it is too long; returns what of it goes on now."""
        if not self._is_passing and len(rest) <= LONGEST_HELD_BYTES:
            self._held = rest
            return b""
        self._is_passing = True
        self._held = rest[-2:]
        return rest[already_passed:]

    def _read(self, event: bytes) -> bool:
        """Take the event's figures; True for the chunk that carries nothing but the usage."""
        data = _data(event)
        if not data:
            return False
        if data == b"[DONE]":
            self._is_done = True
            return False
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError:
            return False
        if not isinstance(document, dict):
            return False
        self.has_failed = self.has_failed or document.get("error") is not None
        choices = document.get("choices")
        usage = reported_usage(document.get("usage"))
        if usage is not None:
            self.usage = usage
        if isinstance(choices, list) and choices:
            characters = answer_characters(choices)
            self._content_events += characters > 0
            self._characters += characters
            self._follow(choices)
            return False
        return usage is not None and choices == []

    def _follow(self, choices: list[Any]) -> None:
        """Note which choices have begun and which have come to their end: each has a reason of its own."""
        for choice in choices:
            if isinstance(choice, dict):
                index = choice.get("index")
                number = index if isinstance(index, int) and 0 <= index < MOST_CHOICES else 0
                self._begun.add(number)
                if choice.get("finish_reason"):
                    self._finished.add(number)


class BodyTap:
    """Reads one JSON body. Every byte goes on as it arrives; a short body is kept to be parsed at the end."""

    has_failed = False

    def __init__(self) -> None:
        self._kept = bytearray()
        self._is_whole = True

    def feed(self, chunk: bytes) -> bytes:
        self._kept += chunk
        if len(self._kept) > WHOLE_BODY_BYTES:
            self._is_whole = False
            del self._kept[:-TAIL_BYTES]
        return chunk

    def end(self) -> bytes:
        return b""

    @property
    def usage(self) -> Usage | None:
        return _last_usage(self._kept)

    @property
    def output_tokens(self) -> int:
        """Estimate from the texts of a whole answer. Of one that was cut short nothing is known: servers send it when done."""
        choices = self._document().get("choices") if self._is_whole else None
        return estimated_tokens(answer_characters(choices)) if isinstance(choices, list) else 0

    def _document(self) -> dict[str, Any]:
        try:
            document = orjson.loads(self._kept)
        except orjson.JSONDecodeError:
            return {}
        return document if isinstance(document, dict) else {}


def _last_usage(body: bytearray) -> Usage | None:
    """From the last field of this name, without parsing the rest. In a text its quotes are escaped: no text can pose as usage."""
    at = body.rfind(USAGE_NAME)
    while at >= 0:
        field = USAGE_FIELD.match(body, at) if body[at - 1 : at] != b"\\" else None
        usage = _parsed(field.group(1)) if field is not None else None
        if usage is not None:
            return usage
        at = body.rfind(USAGE_NAME, 0, at)
    return None


def _parsed(usage: bytes) -> Usage | None:
    try:
        return reported_usage(orjson.loads(usage))
    except orjson.JSONDecodeError:
        return None


def _data(event: bytes) -> bytes:
    """The event's data lines joined by line feeds; comments and other fields do not count."""
    lines = event.splitlines()
    if len(lines) == 2 and lines[0].startswith(b"data: "):
        return lines[0][6:].strip()
    values = (line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
    return b"\n".join(values).strip()
