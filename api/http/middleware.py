"""What every request passes first: pure ASGI, so that streams stay streams and nothing is buffered."""

import logging
import re
import traceback
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from activities.runtime.context import RequestContext, bound_context
from api.http.errors import UNEXPECTED, Failure, body_too_large, failure_of, send_failure
from api.http.lingering import last_answer
from models.base.errors import AppError, InvalidRequest, PayloadTooLarge
from models.base.ids import new_id

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""What a caller may choose as its request id: it is repeated in headers and logs."""

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

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = list(message.get("headers", ()))
                names = {name.lower() for name, _ in own}
                own.append((b"x-request-id", request_id.encode()))
                message = {**message, "headers": own + [pair for pair in self._headers if pair[0] not in names]}
            await send(message)

        with bound_context(RequestContext(request_id=request_id)):
            try:
                if _has_nul(scope):
                    raise InvalidRequest("NUL characters are not allowed in a path or query")
                await self._app(scope, receive, with_headers)
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
    """413 for a body over the limit: at once if its length is announced, else as soon as that much has arrived."""

    def __init__(self, app: ASGIApp, *, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not announced.isdigit():
            failure = Failure(HTTPStatus.BAD_REQUEST, "MALFORMED_REQUEST", "Content-Length is not a number")
            await send_failure(failure, scope, send)
        elif int(announced[:20]) > self._limit_bytes:
            await send_failure(failure_of(body_too_large(self._limit_bytes)), scope, last_answer(receive, send))
        else:
            await self._app(scope, self._counted(receive), _last_if_413(receive, send))

    def _counted(self, receive: Receive) -> Receive:
        received_bytes = 0

        async def counted() -> Message:
            nonlocal received_bytes
            message = await receive()
            if message["type"] == "http.request":
                received_bytes += len(message.get("body", b""))
                if received_bytes > self._limit_bytes:
                    raise body_too_large(self._limit_bytes)
            return message

        return counted


def _last_if_413(receive: Receive, send: Send) -> Send:
    """The rest of such a body is not worth reading."""
    last = last_answer(receive, send)
    chosen = send

    async def maybe_last(message: Message) -> None:
        nonlocal chosen
        if message["type"] == "http.response.start" and message["status"] == PayloadTooLarge.status:
            chosen = last
        await chosen(message)

    return maybe_last


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return str(new_id())


def _has_nul(scope: Scope) -> bool:
    query = scope["query_string"]
    return "\0" in scope["path"] or b"%00" in query or b"\0" in query


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
