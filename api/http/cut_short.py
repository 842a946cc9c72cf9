"""Requests that are cut off when the server stops: a long answer of a model, an upload that never ends.

uvicorn cancels what is still under way after `GRACE_S`, and would log each as a failure of the application.
"""

import asyncio
import logging
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.errors import Failure, send_failure

logger = logging.getLogger(__name__)

GRACE_S = 2
"""How long requests under way may take to end after a stop was asked for: `quarterdeck up` allows 4 s for everything."""
STOPPING = Failure(
    503,
    "SERVICE_UNAVAILABLE",
    "this process is stopping; whether the request took effect is not known, so repeat it with its Idempotency-Key",
    headers={"retry-after": "1"},
)


class CutShort:
    """An application whose requests may be cut off once `is_stopping`; those that nothing was answered to yet are told."""

    def __init__(self, app: ASGIApp, is_stopping: Callable[[], bool]) -> None:
        self._app, self._is_stopping = app, is_stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:
            if not self._is_stopping():
                raise
            await cut_off(scope, send, has_begun=has_begun)


async def cut_off(scope: Scope, send: Send, *, has_begun: bool) -> None:
    """Tells the log, and a caller who has not been answered anything yet."""
    logger.info("cut off %s, which was still under way %d s after the stop", scope.get("path"), GRACE_S)
    if not has_begun:
        await send_failure(STOPPING, scope, send)
