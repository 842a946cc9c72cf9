"""What every request passes first: pure ASGI, so that streams stay streams and nothing is buffered."""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from activities.runtime.context import RequestContext, bound_context
from api.http.edge import begin, beside, check_query, log_unexpected, security_headers
from api.http.errors import UNEXPECTED, Failure, body_too_large, failure_of, send_failure
from api.http.lingering import BodyWatch
from models.base.errors import AppError


class Edge:
    """Gives each request an id, each answer its headers, and each surprise a body: no exception gets past it.

    A path means the same with and without a slash at its end (contract decision 1).
    """

    def __init__(self, app: ASGIApp, *, hsts: bool = False) -> None:
        self._app = app
        self._headers = security_headers(hsts=hsts, for_browsers=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send, begin(scope))
        else:  # the life of the process, or a socket, whose edge is its own
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = False
        watch = BodyWatch(scope, receive)
        chosen = send

        async def with_headers(message: Message) -> None:
            nonlocal started, chosen
            if message["type"] == "http.response.start":
                started = True
                own = beside(message.get("headers", ()), self._headers)
                message = {**message, "headers": [*own, (b"x-request-id", request_id.encode())]}
                if message["status"] >= HTTPStatus.BAD_REQUEST:
                    chosen = watch.answering(message["status"], send)
            await chosen(message)

        with bound_context(RequestContext(request_id=request_id)):
            try:
                check_query(scope)
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
