"""A connection of SQLAlchemy as the owner role: what migrations run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, pool

from models.repositories.urls import driver_url
from tests.servers import TestDatabase


@contextmanager
def owning(database: TestDatabase) -> Iterator[Connection]:
    """One transaction, committed at the end."""
    engine = create_engine(driver_url(database.owner), poolclass=pool.NullPool)
    with engine.begin() as connection:
        yield connection
