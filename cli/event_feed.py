"""A stream of events that outlives its connections: each new one resumes after the last event that arrived."""

from collections.abc import Iterator, Mapping

import httpx
from httpx_sse import ServerSentEvent

from cli.api_client import Api, Outage
from cli.event_stream import EventTooLarge, events_of
from cli.failures import CommandFailed

HELLO = "hello"
"""The first event of every connection (contract/fleet.md 12)."""
RESYNC = "resync"
"""Events after the last one were removed with age: what they told must be read anew."""


def follow(api: Api, path: str, params: Mapping[str, str] | None = None) -> Iterator[ServerSentEvent]:
    """Events without end. Raises CommandFailed when the API refuses, or stays away for longer than PATIENCE_S."""
    last_id = ""
    outage = Outage(api.connection.url, api.notice)
    while True:
        resume = {"last-event-id": last_id} if last_id else {}
        failure: httpx.TransportError = httpx.RemoteProtocolError("the stream ended")
        try:
            with api.stream("GET", path, params=params, headers=resume) as response:
                for event in events_of(response):
                    last_id = event.id or last_id
                    outage = Outage(api.connection.url, api.notice)
                    yield event
        except httpx.TransportError as error:
            failure = error
        except EventTooLarge:
            raise CommandFailed("the API sent an event without end", code="BAD_STREAM") from None
        except CommandFailed as refusal:
            if refusal.status != 503:
                raise
        if not outage.pause():
            raise api.unreachable(failure)
