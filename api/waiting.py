"""`Prefer: wait=N` on commands: the answer may wait for the end of the operation that it names (docs/decisions/0084).

A command is committed and its owner told before anybody waits: whatever ends a wait changes the answer alone. It holds no
connection to the database: the stream of the operation rings, and then its row is read.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import Depends, Header, Request
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from api.deps import State
from api.prefer import LONGEST_WAIT_S, preferences
from api.schemas.operations import OperationRead, operation_path
from api.security.identities import Authenticated
from api.security.permissions import Caller
from api.state import AppState
from models.base.errors import (
    AppError,
    BudgetExceeded,
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    Unauthenticated,
)
from models.domain.operations import OPEN, OperationStatus
from models.repositories import events, operations
from models.tables.operations import Operation

APPLIED = "preference-applied"
_LOCATION = re.compile(r"/operations/([0-9a-f-]{36})")

_TELLING: Final[Mapping[str, type[AppError]]] = {
    each.code: each
    for each in (InvalidRequest, BudgetExceeded, RateLimited, ProviderError, ProviderUnavailable, DeadlineExceeded)
}
"""Failures that say something to whoever asked; of others the code does, and the status is 500."""

Body = Mapping[str, Any]
Settled = Callable[[dict[str, Any]], Body]
"""The body of an answer that waited, made of one whose `operation` has ended and whose other fields are as before."""
Result = Callable[[AsyncSession, Operation], Awaitable[Body]]
"""Reads what a succeeded operation made, from where it lies: `operations.result` says which, and holds none of it."""
Made = Callable[[Operation], Awaitable[Body]]


@dataclass(frozen=True)
class Waiting:
    """How long the caller would like an answer to wait. What a handler asks for as `Wait`."""

    state: AppState = field(repr=False)
    caller: Authenticated = field(repr=False)
    wait_s: int | None

    def for_operation(self, accepted: Response, settled: Settled | None = None) -> Response:
        """`accepted`, or if the caller asked for it and the operation ends in time, 200 with the operation as it ended: in
        `operation` of the body, or as the body where it is one. Whether it succeeded is its `status`.
        """
        if self.wait_s is None:
            return accepted

        async def made(operation: Operation) -> Body:
            body = orjson.loads(accepted.body)
            read = OperationRead.of(operation, self.state.settings, self.state.owner_kinds)
            ended = read.model_dump(mode="json", by_alias=True)
            if "operation" not in body:
                return ended
            body["operation"] = ended
            return body if settled is None else settled(body)

        return self._waited(accepted, self.wait_s, made)

    def for_result(self, accepted: Response, read: Result) -> Response:
        """For routes whose contract fixes what they answer: 200 with what `read` gives if the operation succeeds within the time
        that the caller asked for, else within LONGEST_WAIT_S; `accepted` (202 with the operation) if it takes longer.

        Raises, when it is sent, the AppError that the operation failed with; Conflict for one that was given up.
        """

        async def made(operation: Operation) -> Body:
            if operation.status is not OperationStatus.SUCCEEDED:
                raise _failure(operation)
            principal = self.caller.principal
            async with self.state.database.tenant(principal.organization_id, principal.user_id) as session:
                return await read(session, operation)

        return self._waited(accepted, LONGEST_WAIT_S if self.wait_s is None else self.wait_s, made)

    def _waited(self, accepted: Response, wait_s: int, made: Made) -> Response:
        operation_id = _operation_of(accepted)
        if operation_id is None:
            return accepted
        return _Waited(self, accepted, operation_id, wait_s, made)

    async def end_of(self, operation_id: UUID, wait_s: int) -> Operation | None:
        """The operation, once it has ended. None where that cannot be told in time: it goes on, the process stops, credentials
        were revoked, the database is away, or the caller waits for as many as may be waited for.
        """
        try:
            with self.state.wait_slots.slot(self.caller.principal):
                return await self._end_of(operation_id, wait_s)
        except AppError:
            return None

    async def _end_of(self, operation_id: UUID, wait_s: int) -> Operation | None:
        feed, now = self.state.event_feed, asyncio.get_running_loop().time
        deadline = now() + wait_s
        with feed.bell(events.operation_stream(operation_id)) as bell:
            while not feed.stopping:
                bell.clear()
                operation = await self._look(operation_id)
                left_s = deadline - now()
                if operation is not None or left_s <= 0:
                    return operation
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await bell.wait()
        return None

    async def _look(self, operation_id: UUID) -> Operation | None:
        """The operation if it has ended. Raises AppError where it may not be told: credentials are asked after the look, for
        revocation is effective within a second.
        """
        principal, identities = self.caller.principal, self.state.identities
        async with self.state.database.tenant(principal.organization_id, principal.user_id) as session:
            operation = await operations.get(session, operation_id)
        if operation.status in OPEN:
            return None
        if not identities.fresh:
            await identities.catch_up()
        if identities.holder(self.caller.token_hash) is None:
            raise Unauthenticated("these credentials were revoked while the answer waited")
        return operation


async def waiting(
    caller: Caller,
    state: State,
    request: Request,
    _shown: Annotated[
        str | None,
        Header(
            alias="Prefer",
            description=f"`wait=N`: answer when the operation has ended, N seconds from now at most ({LONGEST_WAIT_S}).",
            examples=["wait=10"],
        ),
    ] = None,
) -> Waiting:
    return Waiting(state, caller, preferences(request.headers.getlist("prefer")).wait_s)


Wait = Annotated[Waiting, Depends(waiting)]


class _Waited(Response):
    """Sends its answer when the operation has ended, when the time is over, or not at all to a client that has gone."""

    def __init__(self, waiting: Waiting, accepted: Response, operation_id: UUID, wait_s: int, made: Made) -> None:
        super().__init__(status_code=accepted.status_code)
        self._waiting, self._accepted, self._made = waiting, accepted, made
        self._operation_id, self._wait_s = operation_id, wait_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering, leaving = asyncio.ensure_future(self._answer()), asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)
        if not answering.cancelled():
            await answering.result()(scope, receive, send)

    async def _answer(self) -> Response:
        operation = await self._waiting.end_of(self._operation_id, self._wait_s)
        answer = self._accepted if operation is None else await self._ended(operation)
        if self._waiting.wait_s is not None:
            answer.headers[APPLIED] = f"wait={self._wait_s}"
        return answer

    async def _ended(self, operation: Operation) -> Response:
        kept = {
            name: value
            for name, value in self._accepted.headers.items()
            if name not in ("content-length", "content-type")
        }
        return JSONResponse(await self._made(operation), HTTPStatus.OK, kept)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def _operation_of(accepted: Response) -> UUID | None:
    """What an answer says of the operation that was begun, also one that is given again: its `Location` (DESIGN 3)."""
    named = _LOCATION.fullmatch(accepted.headers.get("location", ""))
    return None if named is None or accepted.status_code >= HTTPStatus.BAD_REQUEST else UUID(named[1])


def _failure(operation: Operation) -> AppError:
    """With the class of the code where it is one of the tree, so that 402 stays 402."""
    details = {"operation": operation_path(operation.id)}
    if operation.status is OperationStatus.CANCELLED:
        return Conflict("this was given up before it was done", code="OPERATION_CANCELLED", details=details)
    code, message = operation.error_code or AppError.code, operation.error_message or "the operation failed"
    return _TELLING.get(code, AppError)(message, code=code, details=details)
