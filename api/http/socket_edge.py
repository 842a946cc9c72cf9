"""What every socket passes first, and what ends it: one conversation from the handshake to the close frame.

A handler speaks ASGI and knows of none of this: it is cancelled when its peer is gone or may no longer listen, and whatever it
raises becomes a close code (contract decision 27).
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi.exceptions import WebSocketRequestValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from activities.runtime.context import RequestContext, bound_context
from api.http.edge import HeaderPairs, begin, beside, check_query, log_unexpected, security_headers
from api.http.errors import UNEXPECTED, Failure, failure_of, invalid_fields, request_id_of, response_to
from api.http.stream_slots import StreamSlots
from api.security.credentials import comes_from_elsewhere
from api.security.identities import Authenticated, Identities
from models.base.errors import AppError, PermissionDenied

logger = logging.getLogger(__name__)

INBOX_MESSAGES = 8
"""Messages that wait for the handler; of further ones the peer's own connection is the queue."""
INBOX_FULL_S = 10.0
"""How long it may stay full: meanwhile neither a pong nor the peer's close is read."""
LAST_WORDS_S = 1.0
"""How long what a socket is closed for is tried to be said in words; the close frame follows in any case."""
REASON_LIMIT = 123
"""Bytes of a close frame's reason (RFC 6455, section 5.5)."""

NORMAL, INTERNAL, TRY_AGAIN, RESTART, POLICY = 1000, 1011, 1013, 1012, 1008
UNAUTHENTICATED, NOT_YOURS, TOO_SLOW, TOO_MANY = 4401, 4003, 4408, 4429
CODES = {401: UNAUTHENTICATED, 403: NOT_YOURS, 404: NOT_YOURS, 429: TOO_MANY, 503: TRY_AGAIN}
"""By the status that a request would have been answered with. Others of 4xx are POLICY, those of 5xx INTERNAL."""

NO_SOCKET_HERE = Failure(404, "ROUTE_NOT_FOUND", "there is no socket at this path")
INBOX_FULL = Failure(429, "INBOX_FULL", "messages come faster than they are worked on; wait for answers")


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a socket is closed; without a failure nothing went wrong."""

    code: int
    reason: str = ""
    failure: Failure | None = None

    @classmethod
    def of(cls, failure: Failure) -> "Ending":
        otherwise = INTERNAL if failure.status >= 500 else POLICY
        return cls(CODES.get(failure.status, otherwise), failure.code, failure)


class SocketEnds(Exception):
    """Raised by a handler whose socket is to be closed with just this code."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


class SocketEdge:
    """The application for sockets. A page of an origin that is neither ours nor in `origins` opens none: with another's cookie it
    would be another.
    """

    def __init__(
        self,
        app: ASGIApp,
        identities: Identities,
        slots: StreamSlots,
        *,
        origins: Collection[bytes],
        hsts: bool,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._app, self._identities, self._slots = app, identities, slots
        self._origins, self._is_stopping = origins, is_stopping
        self._headers = security_headers(hsts=hsts, for_browsers=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = begin(scope)
        headers = (*self._headers, (b"x-request-id", request_id.encode()))
        conversation = Conversation(
            scope, receive, send, headers=headers, identities=self._identities, slots=self._slots
        )
        scope["state"]["conversation"] = conversation
        with bound_context(RequestContext(request_id=request_id)):
            try:
                await conversation.held(self._checked)
            except asyncio.CancelledError:
                if not self._is_stopping():
                    raise
                logger.info("cut off the socket %s, which was still open after the stop", scope["path"])

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        check_query(scope)
        if comes_from_elsewhere(scope["headers"], self._origins):
            raise PermissionDenied("pages of another origin may not open sockets here", code="CROSS_ORIGIN")
        await self._app(scope, receive, send)


class Conversation:
    """A socket and its handler. Before the handler has accepted it, it ends with an answer of HTTP, later with a close code."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        headers: HeaderPairs,
        identities: Identities,
        slots: StreamSlots,
    ) -> None:
        self._scope, self._receive, self._send, self._headers = scope, receive, send, headers
        self._identities, self._slots = identities, slots
        self._inbox: asyncio.Queue[Message] = asyncio.Queue(INBOX_MESSAGES)
        self._ended: asyncio.Future[Ending | None] = asyncio.get_running_loop().create_future()
        self._listening: asyncio.Task[None] | None = None
        self._of_caller = ExitStack()
        self._is_accepted = False

    async def held(self, app: ASGIApp) -> None:
        """Until the handler is done, the peer is gone, or its credentials are."""
        first = await self._receive()
        if first["type"] != "websocket.connect":
            return
        self._inbox.put_nowait(first)
        handler = asyncio.ensure_future(app(self._scope, self._inbox.get, self._sent))
        ends: set[asyncio.Future[Any]] = {handler, self._ended}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._of_caller.close()
            for task in (handler, self._listening):
                if task is not None:
                    task.cancel()
            (outcome,) = await asyncio.gather(handler, return_exceptions=True)
        await self._close(self._ended.result() if self._ended.done() else self._ending_of(outcome))

    def is_of(self, caller: Authenticated) -> None:
        """From now on it counts as one of the caller's streams, and ends with the credentials. Raises RateLimited."""
        self._of_caller.enter_context(self._slots.slot(caller.principal))
        self._of_caller.enter_context(self._identities.watched(caller.token_hash, self._lost_its_caller))

    def _lost_its_caller(self, error: AppError) -> None:
        self._end(Ending.of(failure_of(error)))

    def _end(self, ending: Ending | None) -> None:
        """None where the peer is gone: there is nobody to tell."""
        if not self._ended.done():
            self._ended.set_result(ending)

    async def _listen(self) -> None:
        while (message := await self._receive())["type"] != "websocket.disconnect":
            try:
                async with asyncio.timeout(INBOX_FULL_S):
                    await self._inbox.put(message)
            except TimeoutError:
                self._end(Ending.of(INBOX_FULL))
                return
        self._end(None)

    async def _sent(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            message = {**message, "headers": beside(message.get("headers", ()), self._headers)}
            self._is_accepted = True
            self._listening = asyncio.ensure_future(self._listen())
        elif (
            message["type"] == "websocket.close" and not self._is_accepted
        ):  # the router's way to say that it knows no such path
            raise SocketEnds(Ending.of(NO_SOCKET_HERE))
        elif message["type"] == "websocket.close":
            raise SocketEnds(Ending(message.get("code", NORMAL), message.get("reason") or ""))
        await self._send(message)

    def _ending_of(self, outcome: object) -> Ending | None:
        """What the handler's end means for the peer."""
        match outcome:
            case None:
                return Ending(NORMAL)
            case SocketEnds():
                return outcome.ending
            case AppError():
                return Ending.of(failure_of(outcome))
            case WebSocketRequestValidationError():
                return Ending.of(invalid_fields(outcome.errors()))
            case WebSocketDisconnect() | OSError() | asyncio.CancelledError():
                return None
        if isinstance(outcome, Exception):
            log_unexpected(self._scope, outcome)
        return Ending.of(UNEXPECTED)

    async def _close(self, ending: Ending | None) -> None:
        if ending is None:
            return
        try:
            if not self._is_accepted:
                await self._refuse(ending.failure or NO_SOCKET_HERE)
                return
            if ending.failure is not None:
                await self._tell(ending.failure)
            reason = ending.reason.encode()[:REASON_LIMIT].decode(errors="ignore")
            await self._send({"type": "websocket.close", "code": ending.code, "reason": reason})
        except OSError:
            logger.debug("a socket was gone before it was closed")

    async def _tell(self, failure: Failure) -> None:
        """In words, before the code, which a page's script sees as well."""
        told = {"code": failure.code, "message": failure.message, "request_id": request_id_of(self._scope)}
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self._send({"type": "websocket.send", "text": as_text("error", told)})
        except TimeoutError:
            logger.debug("a socket was closed without words: its peer takes none")

    async def _refuse(self, failure: Failure) -> None:
        response = response_to(failure, self._scope["path"], request_id_of(self._scope))
        headers = beside(response.raw_headers, self._headers)
        await self._send({"type": "websocket.http.response.start", "status": response.status_code, "headers": headers})
        await self._send({"type": "websocket.http.response.body", "body": bytes(response.body), "more_body": False})


def as_text(kind: str, data: Any, seq: int | None = None) -> str:
    """A message as every socket sends it: what it is, what is in it, and the number to resume after, if it has one."""
    numbered = {} if seq is None else {"seq": seq}
    return orjson.dumps({"type": kind, **numbered, "data": data}).decode()
