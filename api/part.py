"""What runs as long as the API process does, and what a family makes its own of."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from api.databases import Databases
from api.http.event_feed import EventFeed
from api.security.authenticator import Authenticator
from models.repositories.database_clock import DatabaseClock
from models.settings import Settings


@runtime_checkable
class Part(Protocol):
    """Something that runs as long as the process. `start` waits a bounded time for what it needs, and does not fail without."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class ApiObjects:
    """What every family is given to make its objects of."""

    settings: Settings
    installation_key: bytes = field(repr=False)
    listen_url: str = field(repr=False)
    """Of the database, for connections that listen."""
    databases: Databases
    clock: DatabaseClock
    authenticator: Authenticator
    event_feed: EventFeed
