"""`quarterdeck migrate`: the database that the settings name, brought to this version."""

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import psycopg
from pydantic import SecretStr

from models.migrations import ensure_roles, upgrade
from models.settings import Settings
from models.settings.derived import DatabaseRole, as_role, database_password, database_url, installation_key


def migrate(settings: Settings) -> None:
    """Running it again changes nothing. A superuser's URL is used to make the roles; tables belong to the owner role.

    Raises SettingsError, psycopg.OperationalError.
    """
    url = database_url(settings, DatabaseRole.OWNER)
    if _is_superuser(url):
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


def _is_superuser(url: str) -> bool:
    with psycopg.connect(url) as connection:
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
