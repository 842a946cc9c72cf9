"""The answer as the server sends it: its head with our headers, its pieces, and what is said when it breaks off."""

import time
from dataclasses import dataclass

import aiohttp
import orjson
from starlette.types import Message, Send

from api.http.errors import Failure, failure_of, response_to
from api.inference.caller import JSON, Headers, Presence
from models.base.errors import AppError


@dataclass(slots=True)
class Journey:
    """A request on its way: where it is now, how long it has waited for others (seconds), how its answer fares.

    `has_begun`: the caller has been given a status. `is_sound`: nothing has gone wrong in the answer since.
    """

    record_id: str
    request_id: str
    request_headers: Headers
    arrived_s: float
    send: Send
    fixed_headers: tuple[tuple[bytes, bytes], ...]
    waited_s: float = 0.0
    instance: str = ""
    has_begun: bool = False
    is_sound: bool = True
    presence: Presence | None = None

    @property
    def is_caller_gone(self) -> bool:
        return self.presence is not None and self.presence.is_gone

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What every answer has: where it comes from, and what this process added to it so far in milliseconds."""
        overhead_ms = (time.perf_counter() - self.arrived_s - self.waited_s) * 1000
        told = [(b"x-quarterdeck-overhead-ms", b"%.3f" % overhead_ms), *self.fixed_headers]
        if self.instance:
            told.append((b"x-quarterdeck-instance", self.instance.encode()))
        return told


def head(response: aiohttp.ClientResponse, journey: Journey, length: int | None) -> Message:
    """Status and content type as the model server gave them; nothing else of its headers. `length` in bytes, if known."""
    journey.has_begun = True
    content_type = response.headers.get("content-type", "application/json").encode("latin-1", "replace")
    headers = [(b"content-type", content_type), *journey.headers()]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    return {"type": "http.response.start", "status": response.status, "headers": headers}


def piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def refusal(response: aiohttp.ClientResponse, body: bytes, journey: Journey, secret: str) -> tuple[Message, bytes]:
    """A model server's no: its own words if they are a JSON object that does not repeat our key, else the status in ours."""
    journey.has_begun = True
    if secret.encode() in body or not _is_object(body):
        told = f"the model server refused the request with status {response.status}"
        body = _body_of(Failure(response.status, "UPSTREAM_REFUSED_REQUEST", told))
    headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), *journey.headers()]
    retry_after = response.headers.get("retry-after", "")
    if retry_after.isascii() and retry_after.isdigit():
        headers.append((b"retry-after", retry_after.encode()))
    return {"type": "http.response.start", "status": response.status, "headers": headers}, body


def error_event(error: AppError, *, is_inside_event: bool) -> bytes:
    """What a stream ends with when it breaks off: OpenAI's clients raise it as an error instead of taking it for the end."""
    end_of_the_last = b"\n\n" if is_inside_event else b""
    return b"%bdata: %b\n\n" % (end_of_the_last, _body_of(failure_of(error)))


def _body_of(failure: Failure) -> bytes:
    return bytes(response_to(failure, "/v1", request_id="").body)


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(orjson.loads(body), dict)
    except orjson.JSONDecodeError:
        return False
