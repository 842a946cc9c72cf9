"""What handlers work with: the parts of the API process."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from api.answering import answering_family
from api.cancelling import CancelHandler
from api.databases import Databases
from api.http.event_feed import EventFeed
from api.http.stream_slots import StreamSlots
from api.outbox import EagerDelivery
from api.part import Part
from api.pulse import Pulse
from api.security.authenticator import Authenticator
from api.security.identities import Identities
from api.security.login_limits import LoginLimits
from api.security.passwords import PasswordChecks
from api.security.recent_sign_ins import RecentSignIns
from api.security.refusal_pace import RefusalPace
from api.security.tokens import SessionTokens
from models.contracts.owner_kinds import OwnerKinds
from models.repositories.database import Database
from models.repositories.database_clock import DatabaseClock
from models.settings import Settings

Object = TypeVar("Object")


@dataclass(kw_only=True)
class AppState:
    """What handlers work with."""

    settings: Settings
    owner_kinds: OwnerKinds
    cancel_handlers: Mapping[str, CancelHandler]
    """By the kind of the resource that an operation is on."""
    installation_key: bytes = field(repr=False)
    databases: Databases
    clock: DatabaseClock
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
    wait_slots: StreamSlots
    """Of answers that wait: they take no stream's place, so that a burst of commands does not close the console's."""
    pulse: Pulse
    eager_delivery: EagerDelivery
    of_families: Sequence[object]
    parts: list[Part]

    def __post_init__(self) -> None:
        self._by_class = {type(each): each for each in self.of_families}

    def of(self, kind: type[Object]) -> Object:
        """The object of this class that its family has made. Raises KeyError where there is no such family."""
        found = self._by_class[kind]
        assert isinstance(found, kind)  # noqa: S101  (for the type checker: it is filed under its class)
        return found

    @property
    def database(self) -> Database:
        """What requests read and write over: of the connections that they have together the share of the family that answers."""
        family = answering_family()
        return self.databases.requests if family is None else self.databases.requests.of_family(family)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Every part runs inside the block."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.databases.close)
            for part in self.parts:
                stack.push_async_callback(part.close)
                await part.start()
            yield
