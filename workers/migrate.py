"""`quarterdeck migrate`: the database that the settings name, brought to this version."""

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import psycopg
import stamina

from models.migrations import ensure_roles, upgrade
from models.settings import Settings, SettingsError
from models.settings.derived import (
    OWNER_ROLE,
    DatabaseRole,
    admin_url,
    as_owner,
    database_password,
    database_url,
    installation_key,
)

PATIENCE_S = 30.0
"""A server that starts with everything else may listen later than its container says that it is there."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0
CONNECT_TIMEOUT_S = 5


def migrate(settings: Settings, *, patience_s: float = PATIENCE_S) -> None:
    """Running it again changes nothing. A superuser's URL is used to make the roles; tables belong to the owner role.

    Raises SettingsError (an owner role that could log in, and that this user cannot change; in production a superuser's URL
    without those of the roles), psycopg.OperationalError: after `patience_s` for a server that does not answer, at once for
    one that turns this user away.
    """
    url = admin_url(settings)
    if _is_superuser(url, patience_s):
        prepare_database(url, _passwords(settings))
    else:
        _refuse_an_owner_that_logs_in(url)
    upgrade(as_owner(url))


def prepare_database(superuser_url: str, passwords: Mapping[DatabaseRole, str]) -> None:
    """The roles, with these passwords, and pgvector, which only a superuser may create."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    ensure_roles(superuser_url, passwords)


def _connected(url: str, patience_s: float) -> psycopg.Connection:
    stamina.instrumentation.set_on_retry_hooks(())  # it would tell of every try by a word that nobody knows
    patient = stamina.RetryingCaller(
        attempts=None, timeout=patience_s, wait_initial=FIRST_PAUSE_S, wait_max=LONGEST_PAUSE_S, wait_jitter=0.0
    )
    return patient(_may_come, lambda: psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S))


def _may_come(error: Exception) -> bool:
    return isinstance(error, psycopg.OperationalError) and not _is_turned_away(error)


def _is_turned_away(error: psycopg.OperationalError) -> bool:
    """Whether the server had come to ask for the password. One that is starting up refuses before that, and libpq gives its
    refusals no SQLSTATE.
    """
    attempt = error.pgconn
    return attempt is not None and (attempt.used_password or attempt.needs_password)


def _is_superuser(url: str, patience_s: float) -> bool:
    with _connected(url, patience_s) as connection:
        row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    return row == (True,)


def _refuse_an_owner_that_logs_in(url: str) -> None:
    """A password that opens the owner role opens every row: nobody is to have one, and only a superuser can take it away."""
    with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
        row = connection.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", (OWNER_ROLE,)).fetchone()
    if row != (False,):
        raise SettingsError(
            f"{OWNER_ROLE} must exist and be unable to log in: give QUARTERDECK_DATABASE_URL a superuser's URL once, or see"
            " docs/operating.md"
        )


def _passwords(settings: Settings) -> dict[DatabaseRole, str]:
    """Of each role: that of its URL, else one that this installation derives. Raises SettingsError in production without the URL:
    one that API and worker can derive would take the place of the one that they log in with.
    """
    key = installation_key(settings)
    return {role: _password(database_url(settings, role)) or database_password(key, role) for role in DatabaseRole}


def _password(url: str) -> str | None:
    password = urlsplit(url).password
    return None if password is None else unquote(password)
