"""The answer as the server sends it: its head with our headers, its pieces, and what is said when it breaks off."""

import re
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import orjson
from starlette.types import Message, Send

from api.http.errors import Failure, failure_of, response_to
from api.http.sse import STREAM_HEADERS
from api.inference.caller import JSON, Headers, Presence
from api.inference.coded import coding_of
from api.inference.upstream import REFUSED_RETRY_AFTER_S
from models.base.errors import AppError
from models.domain.inference.routing import Route

EVENT_STREAM = b"text/event-stream"
RETRY_AFTER = re.compile(r"[0-9]{1,10}|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")
"""RFC 9110, section 10.2.3: seconds, or a date in the one form that is still to be sent."""

_REFUSAL_CODES = {503: "UPSTREAM_UNAVAILABLE", 504: "UPSTREAM_TIMEOUT"}


@dataclass(slots=True)
class Journey:
    """A request on its way: where it is now, how long it has waited for others (seconds), how its answer fares.

    `is_body_read`: nothing of the request is still to come. `has_begun`: the caller has been given a status. `is_sound`: nothing
    has gone wrong in the answer since.
    """

    record_id: str
    request_id: str
    request_headers: Headers
    arrived_s: float
    send: Send
    fixed_headers: tuple[tuple[bytes, bytes], ...]
    waited_s: float = 0.0
    instance: str = ""
    is_body_read: bool = False
    has_begun: bool = False
    is_sound: bool = True
    presence: Presence | None = None

    @property
    def is_caller_gone(self) -> bool:
        return self.presence is not None and self.presence.is_gone

    def headers_of(self, content_type: bytes) -> list[tuple[bytes, bytes]]:
        """Those of every answer, and of a stream of events what makes proxies pass it on as it comes."""
        headers = [(b"content-type", content_type), *self.headers()]
        if content_type.startswith(EVENT_STREAM):
            headers = [*(pair for pair in headers if pair[0] != b"cache-control"), *STREAM_HEADERS]
        return headers

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What every answer has: where it comes from, and what this process added to it so far in milliseconds."""
        overhead_ms = (time.perf_counter() - self.arrived_s - self.waited_s) * 1000
        told = [(b"x-quarterdeck-overhead-ms", b"%.3f" % overhead_ms), *self.fixed_headers]
        if self.instance:
            told.append((b"x-quarterdeck-instance", self.instance.encode()))
        return told


def head(response: aiohttp.ClientResponse, journey: Journey, length: int | None) -> Message:
    """Status, content type and coding as the model server gave them; nothing else of its headers. `length` in bytes, if known."""
    journey.has_begun = True
    content_type = response.headers.get("content-type", "application/json").encode("latin-1", "replace")
    headers = journey.headers_of(content_type)
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    if coding := coding_of(response):
        headers.append((b"content-encoding", coding))
    return {"type": "http.response.start", "status": response.status, "headers": headers}


def piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def refusal(response: aiohttp.ClientResponse, body: bytes, journey: Journey, route: Route) -> tuple[Message, bytes]:
    """A model server's no, in its own words where they can be passed on, else in ours; its status in either case."""
    journey.has_begun = True
    status = response.status
    if not _is_fit(body, status) or _tells_of(route, body):
        told = f"the model server refused the request with status {status}"
        body = _body_of(Failure(status, _REFUSAL_CODES.get(status, _code_of_others(status)), told))
    headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), *journey.headers()]
    retry_after = response.headers.get("retry-after", "")
    if RETRY_AFTER.fullmatch(retry_after):
        headers.append((b"retry-after", retry_after.encode()))
    elif status in (429, 503):
        headers.append((b"retry-after", b"%d" % REFUSED_RETRY_AFTER_S))
    return {"type": "http.response.start", "status": status, "headers": headers}, body


def error_event(error: AppError, *, is_inside_event: bool) -> bytes:
    """What a stream ends with when it breaks off: OpenAI's clients raise it as an error instead of taking it for the end."""
    end_of_the_last = b"\n\n" if is_inside_event else b""
    return b"%bdata: %b\n\n" % (end_of_the_last, _body_of(failure_of(error)))


def _body_of(failure: Failure) -> bytes:
    return bytes(response_to(failure, "/v1", request_id="").body)


def _code_of_others(status: int) -> str:
    return "UPSTREAM_ERROR" if status >= 500 else "UPSTREAM_REFUSED_REQUEST"


def _is_fit(body: bytes, status: int) -> bool:
    """A JSON object. What is wrong with the server itself it has to say in OpenAI's form, since clients look for it there."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and (status < 500 or isinstance(document.get("error"), dict))


def _tells_of(route: Route, body: bytes) -> bool:
    """True for words that repeat our key or the server's address. A host of one word counts only with its port: it may be any."""
    parts = urlsplit(route.url)
    host = parts.hostname or ""
    address = host if "." in host or ":" in host else parts.netloc
    return route.authorization.partition(" ")[2].encode() in body or address.lower().encode() in body.lower()
