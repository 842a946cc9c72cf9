"""What the API process is made of, put together in one place; what only one family needs it makes itself (`ApiFamily.compose`).

A part is built in `build_state` without touching the network, and joins `parts` if it runs: started in that order, closed in
the reverse one.
"""

from dataclasses import replace

from api.databases import Databases
from api.family import ApiFamily
from api.http.event_feed import EventFeed
from api.http.stream_slots import StreamSlots
from api.outbox import EagerDelivery, delivery_to
from api.part import ApiObjects, Part
from api.pulse import Pulse
from api.registry import BEAT, CANCEL_HANDLERS, FAMILIES, OWNER_KINDS
from api.security.authenticator import Authenticator
from api.security.identities import Identities
from api.security.last_used import LastUsed
from api.security.login_limits import LoginLimits
from api.security.passwords import PasswordChecks
from api.security.recent_sign_ins import RecentSignIns
from api.security.refusal_pace import RefusalPace
from api.security.tokens import SessionTokens
from api.state import AppState
from models.repositories.database_clock import DatabaseClock
from models.settings import Settings
from models.settings.derived import DatabaseRole, database_url, installation_key, refuse_admin_url


def build_state(settings: Settings) -> AppState:
    """The parts of this process, wired and not yet started. Raises SettingsError."""
    key = installation_key(settings)
    refuse_admin_url(settings)
    url = database_url(settings, DatabaseRole.API)
    databases, clock = Databases.of(settings), DatabaseClock()
    tokens = SessionTokens(key)
    identities = Identities(url, tokens, clock)
    last_used = LastUsed(databases.upkeep, clock)
    queues = password_checks, reserved_checks = PasswordChecks(), PasswordChecks.reserved()
    event_feed = EventFeed(url)
    pulse = Pulse(databases.signs_of_life, BEAT)
    authenticator = Authenticator(identities, last_used, settings.session_cookie_name)
    objects = ApiObjects(
        settings=settings,
        installation_key=key,
        listen_url=url,
        databases=databases,
        clock=clock,
        authenticator=authenticator,
        event_feed=event_feed,
    )
    of_families = [each for family in FAMILIES for each in family.compose(_given_to(family, objects))]
    parts_of_families = [each for each in of_families if isinstance(each, Part)]
    eager_delivery = EagerDelivery(databases.requests, databases.upkeep, lambda: delivery_to(settings, OWNER_KINDS))
    return AppState(
        settings=settings,
        owner_kinds=OWNER_KINDS,
        cancel_handlers=CANCEL_HANDLERS,
        installation_key=key,
        databases=databases,
        clock=clock,
        identities=identities,
        authenticator=authenticator,
        session_tokens=tokens,
        login_limits=LoginLimits(),
        password_checks=password_checks,
        reserved_checks=reserved_checks,
        recent_sign_ins=RecentSignIns.of(databases.upkeep),
        refusal_pace=RefusalPace(),
        event_feed=event_feed,
        stream_slots=StreamSlots(settings.streams_per_principal),
        wait_slots=StreamSlots(settings.streams_per_principal),
        pulse=pulse,
        eager_delivery=eager_delivery,
        of_families=of_families,
        parts=[identities, last_used, *queues, event_feed, pulse, *parts_of_families, eager_delivery],
    )


def _given_to(family: ApiFamily, objects: ApiObjects) -> ApiObjects:
    return replace(objects, databases=objects.databases.of_family(family.name))
