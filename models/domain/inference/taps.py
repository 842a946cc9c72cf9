"""What passes from the model server to the caller, read on the way: the bytes go on at once, the usage stays here.

A stream is read by `StreamTap` as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html, section
9.2.5), any other body by `BodyTap`.
"""

import re
from typing import Any, Protocol

import orjson

from models.domain.inference.stream_usage import StreamUsage
from models.domain.inference.usage import Usage, answer_characters, estimated_tokens, reported_usage

BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
"""Two ends of line in a row end an event; the groups are atomic, so that one CRLF is never taken for two ends."""

LONGEST_HELD_BYTES = 65_536
"""An unfinished event longer than this is no usage chunk, which has some 300 bytes: it is passed on in the pieces it comes in."""

USAGE_NULL = re.compile(rb',\s*"usage"\s*:\s*null|(?<=\{)\s*"usage"\s*:\s*null\s*,\s*')
"""In a text its quotes are escaped: what matches is a field."""

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
    """Reads a stream of chat or text completion chunks, an event at a time; an event is held until its end has come.

    With `strip_usage` the caller did not ask for the usage, which we did: the chunks that carry nothing else do not go on, nor
    does the `usage: null` of the others. Without it exactly one such chunk goes on, as the last, for all choices together
    (https://platform.openai.com/docs/api-reference/chat/create, `stream_options`); `keeps_running` leaves totals that come with
    content where they are. Usage that comes with content unasked stays in place. An event `null` goes to nobody.
    """

    def __init__(
        self, *, strip_usage: bool, keeps_running: bool = False, choices_per_prompt: int = MOST_CHOICES
    ) -> None:
        self.has_failed = False
        self._strips = strip_usage
        self._keeps_running = keeps_running
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
        self._reports = StreamUsage(choices_per_prompt)
        self._last_report: dict[str, Any] | None = None  # the document that made it
        self._usage_event = b""  # the last that carried nothing but usage, as it came

    @property
    def usage(self) -> Usage | None:
        """As reported; None while a choice that has begun is in no report. After `[DONE]` there will be no further report."""
        return self._reports.total(() if self._is_done else self._begun)

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
        return bool(self._held) and self._is_passing

    def feed(self, chunk: bytes) -> bytes:
        passed: list[bytes] = []
        if self._ended_in_cr and chunk[:1] == b"\n":
            passed.append(b"" if self._dropped_last else b"\n")
            self._usage_event += b"\n" if self._usage_event[-1:] == b"\r" else b""
            chunk = chunk[1:]
        if not chunk:
            return b"".join(passed)
        self._ended_in_cr = False
        data, start = self._held + chunk, 0
        already_passed = len(self._held) if self._is_passing else 0
        for blank in BLANK_LINE.finditer(data, max(0, len(self._held) - 2)):
            event = data[start : blank.end()]
            self._is_last_unread = self._is_passing
            passes = event[already_passed:] if self._is_passing else self._read(event)
            self._dropped_last = not passes
            passed.append(passes)
            already_passed, self._is_passing, start = 0, False, blank.end()
        self._ended_in_cr = start == len(data) and data[-1:] == b"\r"
        passed.append(self._hold(data[start:], already_passed))
        return b"".join(passed)

    def end(self) -> bytes:
        """An event without its blank line: incomplete by the standard, yet not ours to swallow. Then the usage, if asked for."""
        rest = self._read(self._held) if self._held and not self._is_passing else b""
        if self._is_done or self._last_report is None or self._strips:
            return rest
        gap = b"\n\n" if rest else b""
        return rest + gap + self._closing_usage()

    def _hold(self, rest: bytes, already_passed: int) -> bytes:
        """Keep the unfinished event, or only its last bytes once it is too long; returns what of it goes on now."""
        if not self._is_passing and len(rest) <= LONGEST_HELD_BYTES:
            self._held = rest
            return b""
        self._is_passing = True
        self._held = rest[-2:]
        return rest[already_passed:]

    def _read(self, event: bytes) -> bytes:
        """Take the event's figures; what of it goes on."""
        data = _data(event)
        if not data:
            return event
        if data == b"[DONE]":
            is_first, self._is_done = not self._is_done, True
            return self._closing_usage() + event if is_first else event
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError:
            return event
        if not isinstance(document, dict):
            return event if document is not None else b""
        self.has_failed = self.has_failed or document.get("error") is not None
        choices = document.get("choices")
        beside: list[int] = []
        if isinstance(choices, list) and choices:
            characters = answer_characters(choices)
            self._content_events += characters > 0
            self._characters += characters
            beside = self._follow(choices)
        return self._without_usage(event, document, beside) if "usage" in document else event

    def _without_usage(self, event: bytes, document: dict[str, Any], beside: list[int]) -> bytes:
        """What goes on of an event with a field `usage`, once that has been noted."""
        usage = reported_usage(document["usage"])
        if usage is None:
            return USAGE_NULL.sub(b"", event) if self._strips and document["usage"] is None else event
        self._reports.reported(usage, beside)
        self._last_report = document
        if document.get("choices") == []:
            self._usage_event = event
            return b""
        self._usage_event = b""
        if self._strips or self._keeps_running or not beside:
            return event
        return _event(document | {"usage": None})

    def _closing_usage(self) -> bytes:
        """The chunk that tells the usage of the whole: the server's own, where it made one report and that in this form."""
        report = self._last_report
        if report is None or self._strips:
            return b""
        if self._usage_event and self._reports.count == 1:
            event = self._usage_event.rstrip(b"\r\n")
            return self._usage_event if len(self._usage_event) - len(event) > 1 else event + b"\n\n"
        total = self._reports.total(())
        return _event(report | {"choices": [], "usage": report["usage"] if total is None else total.as_openai()})

    def _follow(self, choices: list[Any]) -> list[int]:
        """Note which of the choices, which are returned, have begun and which have ended: each has a reason of its own."""
        numbers = []
        for choice in choices:
            if isinstance(choice, dict):
                index = choice.get("index")
                number = index if isinstance(index, int) and 0 <= index < MOST_CHOICES else 0
                numbers.append(number)
                self._begun.add(number)
                if choice.get("finish_reason"):
                    self._finished.add(number)
                    self._reports.ended(number)
        return numbers


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


def _event(document: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(document)


def _data(event: bytes) -> bytes:
    """The event's data lines joined by line feeds; comments and other fields do not count."""
    lines = event.splitlines()
    if len(lines) == 2 and lines[0].startswith(b"data: "):
        return lines[0][6:].strip()
    values = (line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
    return b"\n".join(values).strip()
