"""One request, from the choice of an instance to the end of its answer.

Until the first byte of an answer another instance may take over, once. From then on the answer is passed on as it comes, and
whatever ends it early (the caller, the model server, this process stopping) leaves a record with an estimate.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from uuid import UUID

import aiohttp

from api.inference.answers import Journey, error_event, head, piece, refusal
from api.inference.caller import CallerGone
from api.inference.coded import CodedTap, coding_of
from api.inference.metering import Asked, Meter, Record
from api.inference.penalties import Penalties
from api.inference.upstream import (
    DECLINED,
    Upstream,
    UpstreamFailure,
    broken_off,
    declined,
    failed_read,
    failed_status,
)
from models.base.errors import ServiceUnavailable
from models.base.ids import new_text_id
from models.domain.inference.records import InferenceOutcome
from models.domain.inference.routing import Outstanding, Route, RoutingTable, choose
from models.domain.inference.taps import StreamTap, Tap

MOST_CALLS = 2
"""The first, and one more on another instance."""

SMALL_BODY_BYTES = 262_144
"""A body of known length up to this is read whole and sent in one piece."""
STALLED_S = 60.0
LONGEST_REFUSAL_BYTES = 65_536
NO_WORKER_RETRY_AFTER_S = 5.0
EVENT_STREAM = "text/event-stream"


class Exchanges:
    """Carries requests to instances. `routes` gives the table as it is now, or raises when it may not be believed."""

    def __init__(
        self,
        routes: Callable[[], RoutingTable],
        outstanding: Outstanding,
        penalties: Penalties,
        upstream: Upstream,
        meter: Meter,
    ) -> None:
        self._routes = routes
        self._outstanding = outstanding
        self._penalties = penalties
        self._upstream = upstream
        self._meter = meter

    async def carry(self, asked: Asked, body: bytes, journey: Journey) -> None:
        """Answer the caller. Raises AppError while nothing has been sent."""
        route = self._choose(asked, ())
        if route is None:
            raise ServiceUnavailable(
                f"no instance of your organization is ready to serve {asked.model.model_id}; deploy one, or wait for it",
                code="NO_READY_WORKER",
                retry_after_s=NO_WORKER_RETRY_AFTER_S,
            )
        record, tried = self._meter.open(journey.record_id, asked, route), set[UUID]()
        while True:
            journey.instance = str(route.instance_id)
            tried.add(route.instance_id)
            began_s = time.monotonic()
            try:
                await self._call(asked, route, record, body, journey, tried=tried)
                self._penalties.answered(route.instance_id, began_s)
                return
            except UpstreamFailure as failure:
                if failure.is_unreachable:
                    self._penalties.failed(route.instance_id, began_s, time.monotonic())
                elif failure.status is not None:
                    self._penalties.answered(route.instance_id, began_s)
                successor = self._successor(asked, tried) if failure.is_retryable else None
                record.close(
                    InferenceOutcome.INTERRUPTED if failure.may_have_worked else InferenceOutcome.FAILED,
                    http_status=failure.status,
                    retried_as=None if successor is None else successor[1].id,
                )
                if successor is None:
                    raise failure.error from failure
            finally:
                record.close(InferenceOutcome.INTERRUPTED)
            route, record = successor

    def _choose(self, asked: Asked, tried: Collection[UUID]) -> Route | None:
        """Those that could not be reached lately come last; that all are so is how it is noticed that one is back."""
        now_s = time.monotonic()
        candidates = self._routes().candidates(asked.principal.organization_id, asked.model.model_id, now_s)
        if self._penalties:
            first = self._penalties.unsuspected(candidates) if tried else self._penalties.sound(candidates, now_s)
            chosen = choose(first, self._outstanding, session=asked.session, tried=tried)
            if chosen is not None:
                return chosen
        return choose(candidates, self._outstanding, session=asked.session, tried=tried)

    def _another(self, asked: Asked, tried: Collection[UUID]) -> Route | None:
        """Who can take over. Nobody while the routes may not be believed: then the failure itself is the better answer."""
        if len(tried) >= MOST_CALLS:
            return None
        try:
            return self._choose(asked, tried)
        except ServiceUnavailable:
            return None

    def _successor(self, asked: Asked, tried: Collection[UUID]) -> tuple[Route, Record] | None:
        """Who takes over, on record before the failed call names it as its successor; nobody while the disk refuses records."""
        other = self._another(asked, tried)
        try:
            return None if other is None else (other, self._meter.open(new_text_id(), asked, other))
        except ServiceUnavailable:
            return None

    async def _call(
        self, asked: Asked, route: Route, record: Record, body: bytes, journey: Journey, *, tried: Collection[UUID]
    ) -> None:
        response: aiohttp.ClientResponse | None = None
        self._outstanding.begin(route.instance_id)
        try:
            began_s = time.perf_counter()
            try:
                response = await self._upstream.post(
                    route, asked.call.endpoint, body, asked.upstream_headers(), is_stream=asked.call.is_stream
                )
            finally:
                journey.waited_s += time.perf_counter() - began_s
            if 200 <= response.status < 300:
                await self._answer(response, asked, record, journey)
                return
            if response.status in DECLINED and self._another(asked, tried) is not None:
                raise declined(response.status)
            failure = failed_status(response.status)
            if failure is not None:
                raise failure
            await self._refuse(response, route, record, journey)
        except asyncio.CancelledError:
            record.close(_cut_short_by(journey))
            raise
        finally:
            if response is not None:
                response.close()  # what has not been read to its end is closed, which frees the server's slot
            self._outstanding.end(route.instance_id)

    async def _refuse(self, response: aiohttp.ClientResponse, route: Route, record: Record, journey: Journey) -> None:
        body = b""
        try:
            while len(body) <= LONGEST_REFUSAL_BYTES and (part := await _read(response, journey, has_begun=True)):
                body += part
        except UpstreamFailure:
            body = b""  # the status is what matters: it is answered in our words
        record.close(InferenceOutcome.FAILED, http_status=response.status)
        start, told = refusal(response, body[:LONGEST_REFUSAL_BYTES], journey, route)
        await journey.send(start)
        await journey.send(piece(told, more=False))

    async def _answer(self, response: aiohttp.ClientResponse, asked: Asked, record: Record, journey: Journey) -> None:
        is_event_stream = response.headers.get("content-type", "").startswith(EVENT_STREAM)
        tap = CodedTap() if coding_of(response) else asked.call.tap(is_event_stream=is_event_stream)
        length = None if is_event_stream else response.content_length
        try:
            if length is not None and length <= SMALL_BODY_BYTES:
                await _pass_whole(response, tap, record, journey)
            else:
                await _pass_pieces(response, tap, record, journey, length)
        except asyncio.CancelledError:
            record.close(_cut_short_by(journey), http_status=response.status, tap=tap)
            raise
        except CallerGone:
            record.close(InferenceOutcome.CANCELLED, http_status=response.status, tap=tap)
            raise
        except UpstreamFailure as failure:
            if not journey.has_begun:
                raise
            journey.is_sound = False
            record.close(InferenceOutcome.INTERRUPTED, http_status=response.status, tap=tap)
            if isinstance(tap, StreamTap):
                await journey.send(piece(error_event(failure.error, is_inside_event=tap.is_inside_event), more=False))
            # any other body is left unfinished: the server closes the connection, so that it cannot be taken for whole


async def _pass_whole(response: aiohttp.ClientResponse, tap: Tap, record: Record, journey: Journey) -> None:
    began_s = time.perf_counter()
    try:
        body = await response.read()
    except (aiohttp.ClientError, OSError) as error:
        raise failed_read(error, has_begun=True) from error
    finally:
        journey.waited_s += time.perf_counter() - began_s
    tap.feed(body)
    record.close(InferenceOutcome.SUCCEEDED, http_status=response.status, tap=tap)
    await journey.send(head(response, journey, len(body)))
    await journey.send(piece(body, more=False))


async def _pass_pieces(
    response: aiohttp.ClientResponse, tap: Tap, record: Record, journey: Journey, length: int | None
) -> None:
    is_stream = isinstance(tap, StreamTap)
    chunk = await _read(response, journey, has_begun=False)
    await journey.send(head(response, journey, length))
    while chunk:
        passed = tap.feed(chunk)
        if is_stream:
            record.passed(tap)
        if passed:
            await _send(journey, passed)
        chunk = await _read(response, journey, has_begun=True)
    rest = tap.end()
    if isinstance(tap, StreamTap) and not (tap.is_complete or tap.has_failed):
        raise broken_off(has_begun=True)  # its connection ended in good order, which proves nothing
    journey.is_sound = not tap.has_failed
    outcome = InferenceOutcome.FAILED if tap.has_failed else InferenceOutcome.SUCCEEDED
    record.close(outcome, http_status=response.status, tap=tap)
    await journey.send(piece(rest, more=False))


async def _send(journey: Journey, passed: bytes) -> None:
    """Raises CallerGone for a caller that takes nothing any more: it would hold a slot of the model server for ever."""
    try:
        async with asyncio.timeout(STALLED_S):
            await journey.send(piece(passed, more=True))
    except TimeoutError:
        raise CallerGone from None


async def _read(response: aiohttp.ClientResponse, journey: Journey, *, has_begun: bool) -> bytes:
    """The next bytes as they have arrived; none at the end. Raises UpstreamFailure."""
    began_s = time.perf_counter()
    try:
        return await response.content.readany()
    except (aiohttp.ClientError, OSError) as error:
        raise failed_read(error, has_begun=has_begun) from error
    finally:
        journey.waited_s += time.perf_counter() - began_s


def _cut_short_by(journey: Journey) -> InferenceOutcome:
    return InferenceOutcome.CANCELLED if journey.is_caller_gone else InferenceOutcome.INTERRUPTED
