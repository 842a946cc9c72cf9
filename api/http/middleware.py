"""What every request passes first: pure ASGI, so that streams stay streams and nothing is buffered."""

import logging
import re
import traceback
from collections.abc import Mapping
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from activities.runtime.context import RequestContext, bound_context
from api.http.errors import UNEXPECTED, Failure, body_too_large, failure_of, send_failure
from api.http.lingering import BodyWatch
from models.base.errors import AppError, InvalidRequest, MalformedRequest
from models.base.ids import new_id

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""What a caller may choose as its request id: it is repeated in headers and logs."""

MOST_PARAMETERS = 200
"""Of a query; the largest search here has fewer than 20."""

SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""Sent unless the answer has its own. OWASP REST Security Cheat Sheet, section Security Headers."""

HSTS = (b"strict-transport-security", b"max-age=31536000")


class Edge:
    """Gives each request an id, each answer its headers, and each surprise a body: no exception gets past it.

    A path means the same with and without a slash at its end (contract decision 1).
    """

    def __init__(self, app: ASGIApp, *, hsts: bool = False) -> None:
        self._app = app
        self._headers = (*SECURITY_HEADERS, HSTS) if hsts else SECURITY_HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        scope["path"] = scope["path"].rstrip("/") or "/"
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._answer(scope, receive, send, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = False
        watch = BodyWatch(scope, receive)
        chosen = send

        async def with_headers(message: Message) -> None:
            nonlocal started, chosen
            if message["type"] == "http.response.start":
                started = True
                own = list(message.get("headers", ()))
                names = {name.lower() for name, _ in own}
                own.append((b"x-request-id", request_id.encode()))
                message = {**message, "headers": own + [pair for pair in self._headers if pair[0] not in names]}
                if message["status"] >= HTTPStatus.BAD_REQUEST:
                    chosen = watch.answering(message["status"], send)
            await chosen(message)

        with bound_context(RequestContext(request_id=request_id)):
            try:
                _check_query(scope)
                await self._app(scope, watch.receive, with_headers)
            except AppError as error:
                if started:  # half an answer cannot become an error: the server closes the connection
                    log_unexpected(scope, error)
                else:
                    await send_failure(failure_of(error), scope, with_headers)
            except Exception as error:  # noqa: BLE001  (the last handler there is)
                log_unexpected(scope, error)
                if not started:
                    await send_failure(UNEXPECTED, scope, with_headers)


class BodyLimit:
    """413 for a body over the limit of its path: at once if its length is announced, else as soon as that much has arrived."""

    def __init__(self, app: ASGIApp, *, limit_bytes: int, exceptions: Mapping[str, int] | None = None) -> None:
        self._app = app
        self._limit_bytes = limit_bytes
        self._exceptions = exceptions or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit_bytes = self._exceptions.get(scope["path"], self._limit_bytes)
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not announced.isdigit():
            failure = Failure(HTTPStatus.BAD_REQUEST, "MALFORMED_REQUEST", "Content-Length is not a number")
            await send_failure(failure, scope, send)
        elif int(announced[:20]) > limit_bytes:
            await send_failure(failure_of(body_too_large(limit_bytes)), scope, send)
        else:
            await self._app(scope, _counted(receive, limit_bytes), send)


def _counted(receive: Receive, limit_bytes: int) -> Receive:
    received_bytes = 0

    async def counted() -> Message:
        nonlocal received_bytes
        message = await receive()
        if message["type"] == "http.request":
            received_bytes += len(message.get("body", b""))
            if received_bytes > limit_bytes:
                raise body_too_large(limit_bytes)
        return message

    return counted


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return str(new_id())


def _check_query(scope: Scope) -> None:
    """Before anybody takes it apart. Raises InvalidRequest, MalformedRequest."""
    query = scope["query_string"]
    if "\0" in scope["path"] or b"%00" in query or b"\0" in query:
        raise InvalidRequest("NUL characters are not allowed in a path or query")
    if query.count(b"&") >= MOST_PARAMETERS:
        raise MalformedRequest(f"the query has more than {MOST_PARAMETERS} parameters")


def log_unexpected(scope: Scope, error: Exception) -> None:
    """Where it happened and what kind it was. Never its text: a driver's message may repeat what a caller sent."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    kinds = " from ".join(_kinds(error))
    route = getattr(scope.get("route"), "path", "an unknown path")
    logger.error("unexpected %s while answering %s %s\n%s", kinds, scope["method"], route, frames)


def _kinds(error: BaseException) -> list[str]:
    kinds: list[str] = []
    current: BaseException | None = error
    while current is not None and len(kinds) < 5:
        kinds.append(type(current).__qualname__)
        current = current.__cause__ or current.__context__
    return kinds
