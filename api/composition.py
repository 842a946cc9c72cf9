"""What the API process is made of, put together in one place.

A part is built in `build_state` without touching the network, and joins `parts` if it runs: started in that order, closed in
the reverse one.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from api.http.event_feed import EventFeed
from api.http.stream_slots import StreamSlots
from api.inference.composition import Inference
from api.node_agents.boots import BootLimits
from api.node_agents.heartbeats import Heartbeats
from api.outbox import EagerDelivery, delivery_to
from api.pulse import Pulse
from api.security.authenticator import Authenticator
from api.security.identities import Identities
from api.security.last_used import LastUsed
from api.security.login_limits import LoginLimits
from api.security.passwords import PasswordChecks
from api.security.recent_sign_ins import RecentSignIns
from api.security.refusal_pace import RefusalPace
from api.security.tokens import SessionTokens
from models.repositories.database import LOCK_WAIT_S, Database
from models.settings import Settings
from models.settings.derived import DatabaseRole, database_url, installation_key, refuse_admin_url


class Part(Protocol):
    """Something that runs as long as the process. `start` waits a bounded time for what it needs, and does not fail without."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


@dataclass(kw_only=True)
class AppState:
    """What handlers work with."""

    settings: Settings
    installation_key: bytes = field(repr=False)
    database: Database
    identities: Identities
    authenticator: Authenticator
    session_tokens: SessionTokens
    login_limits: LoginLimits
    password_checks: PasswordChecks
    reserved_checks: PasswordChecks
    recent_sign_ins: RecentSignIns
    refusal_pace: RefusalPace
    event_feed: EventFeed
    stream_slots: StreamSlots
    boot_limits: BootLimits
    heartbeats: Heartbeats
    pulse: Pulse
    inference: Inference
    eager_delivery: EagerDelivery
    parts: list[Part]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Every part runs inside the block."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.database.close)
            for part in self.parts:
                stack.push_async_callback(part.close)
                await part.start()
            yield


def build_state(settings: Settings) -> AppState:
    """The parts of this process, wired and not yet started. Raises SettingsError."""
    key = installation_key(settings)
    refuse_admin_url(settings)
    url = database_url(settings, DatabaseRole.API)
    database = Database(
        url, pool_size=settings.database_pool_size, application_name="quarterdeck-api", lock_wait_s=LOCK_WAIT_S
    )
    tokens = SessionTokens(key)
    identities = Identities(url, tokens)
    last_used = LastUsed(database)
    queues = password_checks, reserved_checks = PasswordChecks(), PasswordChecks.reserved()
    event_feed = EventFeed(url)
    heartbeats, pulse = Heartbeats.into(database), Pulse(database)
    authenticator = Authenticator(identities, last_used, settings.session_cookie_name)
    inference = Inference(settings, key, database, url, authenticator, is_stopping=lambda: event_feed.stopping)
    eager_delivery = EagerDelivery(database, lambda: delivery_to(settings))
    return AppState(
        settings=settings,
        installation_key=key,
        database=database,
        identities=identities,
        authenticator=authenticator,
        session_tokens=tokens,
        login_limits=LoginLimits(),
        password_checks=password_checks,
        reserved_checks=reserved_checks,
        recent_sign_ins=RecentSignIns.of(database),
        refusal_pace=RefusalPace(),
        event_feed=event_feed,
        stream_slots=StreamSlots(settings.streams_per_principal),
        boot_limits=BootLimits(),
        heartbeats=heartbeats,
        pulse=pulse,
        inference=inference,
        eager_delivery=eager_delivery,
        parts=[identities, last_used, *queues, event_feed, heartbeats, pulse, inference, eager_delivery],
    )
