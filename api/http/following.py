"""Following a stream of the event table, from a number on, without a gap and without a repeat (DESIGN 3 "Events").

A follower is one loop: read what is new, send it, wait for the bell. Nothing is queued for it, so a slow one costs no
memory. It ends with its session, with its server, and with its database.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from api.http.event_feed import EventFeed
from api.http.sse import HELLO, KEEPALIVE, RESYNC, Resumption, SseEvent, missed, resume, stamped
from api.security.identities import Authenticated, Identities
from models.base.errors import AppError
from models.repositories import events
from models.repositories.database import Database
from models.tables.activity import Event

KEEPALIVE_INTERVAL_S = 15.0
"""Contract/fleet.md 12."""
BATCH = 200
"""Events read at a time: what one follower holds in memory at most."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found: up to BATCH events, and the last words of a stream that has come to its end."""

    events: Sequence[Event]
    last_words: SseEvent | None = None


Written = Callable[[Event], SseEvent | None]
"""What is sent of an event; None: nothing."""


@dataclass(frozen=True, slots=True)
class Following:
    """Whom the events go to, and from where to where. `look(after)` reads; `written(event)` gives what is sent of one."""

    stream: str
    resumption: Resumption
    token_hash: str
    look: Callable[[int], Awaitable[Look]]
    written: Written


def as_it_is(event: Event) -> SseEvent:
    return SseEvent(event.kind, stamped(event), event.seq)


async def following_of(
    database: Database,
    caller: Authenticated,
    stream: str,
    last_event_id: str | None,
    *,
    written: Written = as_it_is,
    from_start: bool = False,
) -> Following:
    """A stream of the caller's organization, after the given id or, without one, from its newest event on."""
    reader = caller.principal
    async with database.tenant(reader.organization_id, reader.user_id) as session:
        newest = await events.newest_seq(session, stream)

    async def look(after: int) -> Look:
        async with database.tenant(reader.organization_id, reader.user_id) as session:
            return Look(await events.read_after(session, stream, after, BATCH))

    resumption = resume(last_event_id, newest, otherwise=0 if from_start else newest)
    return Following(stream, resumption, caller.token_hash, look, written)


async def follow(
    feed: EventFeed, identities: Identities, following: Following, *, keepalive_s: float = KEEPALIVE_INTERVAL_S
) -> AsyncGenerator[bytes, None]:
    """The chunks to send as server-sent events."""
    async with aclosing(followed(feed, identities, following, keepalive_s=keepalive_s)) as found:
        async for several in found:
            yield b"".join(event.encode() for event in several) if several else KEEPALIVE


async def followed(
    feed: EventFeed, identities: Identities, following: Following, *, keepalive_s: float = KEEPALIVE_INTERVAL_S
) -> AsyncGenerator[Sequence[SseEvent], None]:
    """A hello with the number to resume after, then each event once, in order; none when there was none for `keepalive_s`."""
    after = following.resumption.after
    yield [SseEvent(HELLO, {"ok": True}, after)]
    if following.resumption.is_lost:
        yield [SseEvent(RESYNC, {"after": None, "next": after + 1})]
    with feed.bell(following.stream) as bell, identities.watched(following.token_hash, lambda _error: bell.set()):
        while not feed.stopping:
            bell.clear()
            found = await _found(identities, following, after)
            if found is None:
                return
            if found.events:
                wanted = list(_sent(following, after, found.events))
                after = found.events[-1].seq
                if wanted:
                    yield wanted
            if len(found.events) == BATCH:
                continue
            if found.last_words is not None:
                yield [found.last_words]
                return
            if not await _rung(bell, keepalive_s):
                yield []


async def _found(identities: Identities, following: Following, after: int) -> Look | None:
    """None for whoever may not see it, or not now: the client comes back with its number."""
    try:
        found = await following.look(after)
        if not identities.fresh:
            await identities.catch_up()
        # Asked after the look: what came meanwhile may be no longer for this caller.
        return None if identities.holder(following.token_hash) is None else found
    except AppError:
        return None


def _sent(following: Following, after: int, found: Sequence[Event]) -> Iterable[SseEvent]:
    gap = missed(after, found)
    if gap is not None:
        yield gap
    for event in found:
        written = following.written(event)
        if written is not None:
            yield written


async def _rung(bell: asyncio.Event, timeout_s: float) -> bool:
    """False when it is time for a keep-alive."""
    try:
        async with asyncio.timeout(timeout_s):
            await bell.wait()
    except TimeoutError:
        return False
    return True
