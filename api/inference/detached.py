"""Calls with an `Idempotency-Key`: they go on when their caller has gone, and their answer is kept for the next try.

Made for callers that are retried as a whole (the platform's own activities): the second try finds the answer of the first
instead of paying again. As long as this process lives the call is finished and its answer stored; if it dies, the key is free
again after the lease, and the journal has counted what was spent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from uuid import UUID

from starlette.types import Message, Receive, Send

from api.inference.answers import Journey, piece
from api.inference.caller import Presence
from api.inference.exchange import Exchanges
from api.inference.metering import Asked
from models.base.errors import AppError, MalformedRequest, RateLimited, ServiceUnavailable
from models.domain.identity.principal import Principal
from models.repositories.database import Database
from models.repositories.inference import results as inference_results
from models.repositories.inference.results import AnswerSeal, Claim, KeptAnswer, Scope

logger = logging.getLogger(__name__)

LONGEST_KEY = 255
LARGEST_ANSWER_BYTES = 8_000_000
"""A longer answer goes to its caller and is not kept: a retry runs anew."""
MOST_CALLS = 64
"""Answers in the making are held in memory: this many at a time and process."""
MOST_OF_ORGANIZATION = 32
MOST_OF_PRINCIPAL = 16
"""So that nobody takes the places of all."""
RENEW_EVERY_S = 10.0
DRAIN_S = 5.0
"""For calls still running when the process stops, after the server has given its connections their time."""
STOP_S = 3.0
"""For a call that is stopped to give back its key."""
STORE_AGAIN_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Waits before further tries to keep an answer while the database is away."""


class Recorder:
    """Stands in for the caller: keeps the answer, and passes it on for as long as somebody listens.

    The end of the answer is passed on by `release` only: who has all of it finds it kept when asking again.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._status = 0
        self._content_type = "application/json"
        self._is_coded = False  # a kept answer has no place for the coding, without which its bytes mean nothing
        self._parts: list[bytes] = []
        self._size = 0
        self._end: Message | None = None
        self.is_attended = True

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = dict(message["headers"])
            self._content_type = headers[b"content-type"].decode("latin-1")
            self._is_coded = b"content-encoding" in headers
        else:
            self._add(message["body"])
            if not message["more_body"]:
                self._end = message
                return
        if self.is_attended:
            await self._send(message)

    async def release(self) -> None:
        if self._end is not None and self.is_attended:
            await self._send(self._end)

    def answer(self, instance: str) -> KeptAnswer | None:
        """What to keep: whole answers that another try would not improve on."""
        is_final = 200 <= self._status < 500 and self._status not in (408, 409, 425, 429)
        if self._end is None or not is_final or self._is_coded or self._size > LARGEST_ANSWER_BYTES:
            return None
        return KeptAnswer(self._status, self._content_type, b"".join(self._parts), UUID(instance) if instance else None)

    def _add(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= LARGEST_ANSWER_BYTES:
            self._parts.append(body)
        else:
            self._parts.clear()


class DetachedCalls:
    """Runs them as tasks of their own. `close` gives those still running a bounded time."""

    def __init__(self, database: Database, seal: AnswerSeal, exchanges: Exchanges) -> None:
        self._database = database
        self._seal = seal
        self._exchanges = exchanges
        self._running: dict[asyncio.Task[None], Principal] = {}

    async def carry(self, key: str, asked: Asked, journey: Journey, receive: Receive) -> None:
        """Answer the caller from what is kept, or run the call. Raises AppError, CallerGone."""
        if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
            raise MalformedRequest(f"an Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters")
        principal = asked.principal
        self._check_places(principal)
        scope = Scope(principal.organization_id, principal.name, asked.call.endpoint.value, key)
        request_hash = asked.call.digest()
        body = asked.call.upstream_body(asked.model.model_id)
        async with self._database.tenant(principal.organization_id, principal.user_id) as session:
            claimed = await inference_results.claim(session, self._seal, scope, request_hash)
        if isinstance(claimed, KeptAnswer):
            await _replay(claimed, journey)
            return
        try:
            self._check_places(principal)  # others may have come meanwhile
        except RateLimited:
            async with self._database.tenant(principal.organization_id, principal.user_id) as session:
                await inference_results.release(session, claimed)
            raise
        recorder = Recorder(journey.send)
        journey.send = recorder.send
        task = asyncio.create_task(self._run(claimed, asked, body, journey, recorder), name=f"detached:{claimed.id}")
        self._running[task] = principal
        task.add_done_callback(self._forget)
        try:
            with Presence(receive):
                await asyncio.wait([task])  # being cancelled here leaves the task alone
        finally:
            recorder.is_attended = False
        if task.cancelled():
            raise ServiceUnavailable("this process is stopping; try again shortly", retry_after_s=STOP_S)
        task.result()

    async def close(self) -> None:
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=DRAIN_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=STOP_S)

    async def _run(self, claim: Claim, asked: Asked, body: bytes, journey: Journey, recorder: Recorder) -> None:
        renewal = asyncio.create_task(self._renew(claim, asked))
        answer: KeptAnswer | None = None
        try:
            await self._exchanges.carry(asked, body, journey)
            answer = recorder.answer(journey.instance) if journey.is_sound else None
        finally:
            renewal.cancel()
            await self._finish(claim, asked, answer, recorder)

    async def _finish(self, claim: Claim, asked: Asked, answer: KeptAnswer | None, recorder: Recorder) -> None:
        """Keep the answer or free the key, then let the caller have the end. A key that cannot be freed now is by its lease."""
        organization_id = asked.principal.organization_id

        async def store() -> None:
            async with self._database.tenant(organization_id, asked.principal.user_id) as session:
                if answer is None:
                    await inference_results.release(session, claim)
                else:
                    await inference_results.keep(session, self._seal, organization_id, claim, answer)

        is_stored = await _is_done(store)
        await recorder.release()
        if not is_stored and answer is not None:
            await _insist(store)

    async def _renew(self, claim: Claim, asked: Asked) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                async with self._database.tenant(asked.principal.organization_id, asked.principal.user_id) as session:
                    await inference_results.renew(session, claim)
            except ServiceUnavailable as error:
                logger.warning("the lease of a detached call could not be renewed (%s)", error.code)

    def _check_places(self, principal: Principal) -> None:
        """Raises RateLimited."""
        of_organization = [each for each in self._running.values() if each.organization_id == principal.organization_id]
        of_principal = sum(each.name == principal.name for each in of_organization)
        if (
            of_principal >= MOST_OF_PRINCIPAL
            or len(of_organization) >= MOST_OF_ORGANIZATION
            or len(self._running) >= MOST_CALLS
        ):
            raise RateLimited("too many calls with an Idempotency-Key are running", retry_after_s=1.0)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, AppError):
            logger.error("a detached call failed unexpectedly (%s)", type(error).__name__)


async def _insist(store: Callable[[], Awaitable[None]]) -> None:
    for wait_s in STORE_AGAIN_S:
        await asyncio.sleep(wait_s)
        if await _is_done(store):
            return
    logger.warning("the answer of a detached call could not be kept: a retry will run it anew")


async def _is_done(store: Callable[[], Awaitable[None]]) -> bool:
    try:
        await store()
    except ServiceUnavailable:
        return False
    return True


async def _replay(answer: KeptAnswer, journey: Journey) -> None:
    journey.instance = str(answer.instance_id) if answer.instance_id else ""
    headers = [
        *journey.headers_of(answer.content_type.encode("latin-1")),
        (b"content-length", b"%d" % len(answer.body)),
        (b"idempotent-replayed", b"true"),
    ]
    journey.has_begun = True
    await journey.send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await journey.send(piece(answer.body, more=False))
