"""Following a stream of the event table, from a number on, without a gap and without a repeat (DESIGN 3 "Events").

A follower is one loop: read what is new, send it, wait for the bell. Nothing is queued for it, so a slow one costs no
memory. It ends with its session, with its server, and with its database.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from api.http.event_feed import EventFeed
from api.http.sse import HELLO, KEEPALIVE, RESYNC, Resumption, SseEvent, missed
from api.security.identities import Identities
from models.base.errors import AppError
from models.tables.activity import Event

KEEPALIVE_INTERVAL_S = 15.0
"""Contract/fleet.md 12. The end of a session is noticed as late as this."""
BATCH = 200
"""Events read at a time: what one follower holds in memory at most."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found: up to BATCH events, and the last words of a stream that has come to its end."""

    events: Sequence[Event]
    last_words: SseEvent | None = None


@dataclass(frozen=True, slots=True)
class Following:
    """Whom the events go to, and from where to where. `look(after)` reads; `written(event)` gives what is sent of one."""

    stream: str
    resumption: Resumption
    token_hash: str
    look: Callable[[int], Awaitable[Look]]
    written: Callable[[Event], SseEvent | None]


async def follow(
    feed: EventFeed, identities: Identities, following: Following, *, keepalive_s: float = KEEPALIVE_INTERVAL_S
) -> AsyncGenerator[bytes, None]:
    """The chunks to send: a hello with the number to resume after, then each event once, in order."""
    after = following.resumption.after
    yield SseEvent(HELLO, {"ok": True}, after).encode()
    if following.resumption.is_lost:
        yield SseEvent(RESYNC, {"after": None, "next": after + 1}).encode()
    with feed.bell(following.stream) as bell:
        while not feed.stopping:
            bell.clear()
            try:
                found = await following.look(after)
                if not identities.fresh:
                    await identities.catch_up()
                if identities.holder(following.token_hash) is None:
                    return  # asked after the look: what came meanwhile may be no longer for this caller
            except AppError:
                return  # the client comes back with its number when this can be answered again
            if found.events:
                yield _encoded(_sent(following, after, found.events))
                after = found.events[-1].seq
            if len(found.events) == BATCH:
                continue
            if found.last_words is not None:
                yield found.last_words.encode()
                return
            if not await _rung(bell, keepalive_s):
                yield KEEPALIVE


def _sent(following: Following, after: int, events: Sequence[Event]) -> Iterable[SseEvent]:
    gap = missed(after, events)
    if gap is not None:
        yield gap
    for event in events:
        written = following.written(event)
        if written is not None:
            yield written


def _encoded(events: Iterable[SseEvent]) -> bytes:
    return b"".join(event.encode() for event in events)


async def _rung(bell: asyncio.Event, timeout_s: float) -> bool:
    """False when it is time for a keep-alive."""
    try:
        async with asyncio.timeout(timeout_s):
            await bell.wait()
    except TimeoutError:
        return False
    return True
