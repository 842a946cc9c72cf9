"""Alembic, driven from code: no ini file, no working directory."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine

from models.migrations.functions import are_applied, read_functions
from models.repositories.urls import driver_url

FOLDER = Path(__file__).parent


def _config(owner_url: str | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))  # it interpolates
    if owner_url is not None:
        config.attributes["url"] = driver_url(owner_url)
    return config


def upgrade(owner_url: str, revision: str = "head") -> None:
    """Bring the database to `revision`. `owner_url` becomes the owner role (`as_owner`). Running it again changes nothing.

    At the head, functions and rights become those of this version as well.

    Two processes that start together wait for each other (advisory lock in `env.py`).
    """
    command.upgrade(_config(owner_url), revision)


def head_revision() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise LookupError("no migration exists")
    return head


def is_current(owner_url: str) -> bool:
    """Whether the database is at this version: no migration is missing, and its functions are those of `models/sql`."""
    engine = create_engine(driver_url(owner_url))
    try:
        with engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
            return revision == head_revision() and are_applied(connection, read_functions())
    finally:
        engine.dispose()


def knows_revision(revision: str) -> bool:
    """Whether this version can bring a database of that revision to its own."""
    try:
        return ScriptDirectory.from_config(_config()).get_revision(revision) is not None
    except CommandError:
        return False


def current_revision(url: str) -> str | None:
    """The revision that the database is at; None before the first migration."""
    engine = create_engine(driver_url(url))
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
