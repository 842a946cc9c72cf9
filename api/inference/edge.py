"""The outermost layer of the inference API.

It does what `api.http.middleware` does for every other path (request id, headers, limit on bodies, a body for every failure) by
the same functions (`api.http.edge`), in one step instead of six layers of callables: those cost as much as everything else that
this process does for a request (benchmarks/proxy.py).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from starlette.types import Receive, Scope, Send

from activities.runtime.context import RequestContext, set_context
from api.http.cut_short import cut_off
from api.http.edge import beside, chosen_id, log_unexpected, security_headers
from api.http.errors import UNEXPECTED, Failure, failure_of, response_to
from api.http.lingering import BodyWatch
from api.inference.answers import Journey, piece
from api.inference.caller import CallerGone, Refused
from models.base.errors import AppError, ServiceUnavailable
from models.base.ids import new_text_id

PREFIX = "/v1/"
STARTING_RETRY_AFTER_S = 1.0

OPENAI_CODES = {"INVALID_TOKEN": "INVALID_API_KEY"}
"""Where OpenAI's clients know a failure by another code: https://platform.openai.com/docs/guides/error-codes."""

Answer = Callable[[Scope, Receive, Journey], Awaitable[None]]


class InferenceEdge:
    """An ASGI application around `answer`, which is None while this process starts or stops: then it is 503.

    Once the process is stopping, requests may be cut off, as `CutShort` has it for every other path.
    """

    def __init__(self, *, hsts: bool, is_stopping: Callable[[], bool]) -> None:
        self.answer: Answer | None = None
        self._is_stopping = is_stopping
        self._headers = security_headers(hsts=hsts, for_browsers=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_headers = dict(scope["headers"])
        record_id = new_text_id()
        request_id = chosen_id(request_headers.get(b"x-request-id")) or record_id
        headers = ((b"x-request-id", request_id.encode()), *self._headers)
        journey = Journey(record_id, request_id, request_headers, time.perf_counter(), send, headers)
        set_context(RequestContext(request_id=request_id))
        try:
            if self.answer is None:
                raise ServiceUnavailable(
                    "this process is starting or stopping; try again shortly", retry_after_s=STARTING_RETRY_AFTER_S
                )
            await self.answer(scope, receive, journey)
        except CallerGone:
            return
        except Refused as refused:
            await _refuse(refused.failure, scope, receive, send, journey)
        except asyncio.CancelledError:
            if not self._is_stopping():
                raise
            await cut_off(scope, send, has_begun=journey.has_begun)
        except AppError as error:
            await _refuse(_failure(error), scope, receive, send, journey)
        except Exception as error:  # noqa: BLE001  (the last handler there is)
            log_unexpected(scope, error)
            await _refuse(UNEXPECTED, scope, receive, send, journey)


async def _refuse(failure: Failure, scope: Scope, receive: Receive, send: Send, journey: Journey) -> None:
    """An answer that has begun cannot become an error: the server closes the connection of one that is left unfinished.

    `send` is the server's own: that of the journey may be a detached call's, which has stopped listening.
    """
    if journey.has_begun:
        return
    response = response_to(failure, scope["path"], journey.request_id)
    headers = beside(response.raw_headers, tuple(journey.headers()))
    answer = send if journey.is_body_read else BodyWatch(scope, receive).answering(failure.status, send)
    await answer({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await answer(piece(bytes(response.body), more=False))


def _failure(error: AppError) -> Failure:
    """Its `param`, where the details name one, has a place of its own in OpenAI's error body."""
    param, failure = error.details.get("param"), failure_of(error)
    code = OPENAI_CODES.get(failure.code, failure.code)
    return replace(failure, code=code, param=None if param is None else str(param))
