"""`quarterdeck migrate`: the database that the settings name, brought to this version."""

import time
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import psycopg
from pydantic import SecretStr

from models.migrations import ensure_roles, upgrade
from models.settings import Settings
from models.settings.derived import DatabaseRole, as_role, database_password, database_url, installation_key

PATIENCE_S = 30.0
"""A server that starts with everything else may listen later than its container says that it is there."""
RETRY_EVERY_S = 0.5
CONNECT_TIMEOUT_S = 5


def migrate(settings: Settings, *, patience_s: float = PATIENCE_S) -> None:
    """Running it again changes nothing. A superuser's URL is used to make the roles; tables belong to the owner role.

    Raises SettingsError, psycopg.OperationalError: after `patience_s` for a server that does not answer, at once for one
    that turns this user away.
    """
    url = database_url(settings, DatabaseRole.OWNER)
    if _is_superuser(url, patience_s):
        passwords = _passwords(settings)
        prepare_database(url, passwords)
        url = as_role(url, DatabaseRole.OWNER, passwords[DatabaseRole.OWNER])
    upgrade(url)


def prepare_database(admin_url: str, passwords: Mapping[DatabaseRole, str]) -> None:
    """The three roles with these passwords, and pgvector, which only a superuser may create."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    ensure_roles(admin_url, passwords)


def _connected(url: str, patience_s: float) -> psycopg.Connection:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S)
        except psycopg.OperationalError as error:
            if _is_turned_away(error) or time.monotonic() >= deadline:
                raise
            time.sleep(RETRY_EVERY_S)


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


def _passwords(settings: Settings) -> dict[DatabaseRole, str]:
    """Of each role: that of its URL, else one that this installation derives."""
    key = installation_key(settings)
    chosen = {DatabaseRole.WORKER: settings.database_url_worker, DatabaseRole.API: settings.database_url_api}
    return {role: _password(chosen.get(role)) or database_password(key, role) for role in DatabaseRole}


def _password(url: SecretStr | None) -> str | None:
    password = None if url is None else urlsplit(url.get_secret_value()).password
    return None if password is None else unquote(password)
