"""What Alembic runs for every command."""

from typing import Any

from alembic import context
from sqlalchemy import Connection, create_engine, pool, text

from models.migrations.settling import settle
from models.tables import metadata

MIGRATION_LOCK = 0x51756172  # "Quar": one migration at a time, whichever process began first


def _include(name: str | None, kind: str, _parents: object) -> bool:
    return not (kind == "table" and name is not None and "_samples" in name and "_p" in name.rpartition("samples")[2])


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, include_name=_include, compare_type=True)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        context.run_migrations()
        if context.get_context().get_current_revision() == context.get_head_revision():
            settle(connection)


def run() -> None:
    attributes: dict[str, Any] = context.config.attributes
    engine = create_engine(attributes["url"], poolclass=pool.NullPool)
    try:
        with engine.connect() as connection:
            _migrate(connection)
    finally:
        engine.dispose()


run()
