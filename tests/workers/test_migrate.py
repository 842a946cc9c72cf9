"""`quarterdeck migrate` and a server that is not there yet: patience where it may come, none where it says no."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from models.settings import Environment, Settings, SettingsError
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase
from workers.embedded.ports import free_port
from workers.migrate import migrate

KEY = "vM3qkZ0oU5xJt1yWc8Rr2bA7nE4sDfGhIjKlPpQqTtU"


def settings(home: Path, url: str) -> Settings:
    return Settings(home=home, installation_key=KEY, database_url=url)


@contextmanager
def forwarding_later(port: int, to_port: int, after_s: float) -> Iterator[None]:
    """The port is closed for `after_s`, then what is sent to it reaches the other one."""
    loop = asyncio.new_event_loop()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", to_port)
        await asyncio.gather(_copy(reader, here), _copy(there, writer))

    async def serve() -> None:
        await asyncio.sleep(after_s)
        async with await asyncio.start_server(forward, "127.0.0.1", port) as server:
            await server.serve_forever()

    serving = loop.create_task(serve())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        time.sleep(0.1)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(GIVE_UP_S)
        loop.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
    writer.close()


def test_a_server_that_listens_later_is_waited_for(tmp_path: Path, database: TestDatabase) -> None:
    port, real = free_port(), urlsplit(database.migrator).port
    assert real is not None
    with forwarding_later(port, real, after_s=1.5):
        migrate(settings(tmp_path, database.migrator.replace(f":{real}/", f":{port}/")))


def test_a_wrong_password_is_told_at_once(
    tmp_path: Path, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = urlsplit(database.migrator).password
    tries: list[str] = []
    connect = psycopg.connect

    def counted(url: str, **more: Any) -> psycopg.Connection:
        tries.append(url)
        return connect(url, **more)

    monkeypatch.setattr(psycopg, "connect", counted)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        migrate(settings(tmp_path, database.migrator.replace(f":{password}@", ":wrong@")))
    assert len(tries) == 1


def test_patience_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = f"postgresql://someone:secret@127.0.0.1:{free_port()}/x"
    with pytest.raises(psycopg.OperationalError, match="refused"):
        migrate(settings(tmp_path, url), patience_s=0.6)
    assert caplog.records == []


def test_an_owner_role_with_a_password_is_refused_to_who_cannot_take_it_away(
    tmp_path: Path, database: TestDatabase
) -> None:
    migrate(settings(tmp_path, database.migrator))
    with psycopg.connect(database.admin, autocommit=True) as connection:
        connection.execute("ALTER ROLE quarterdeck_owner LOGIN")
        try:
            with pytest.raises(SettingsError, match="unable to log in"):
                migrate(settings(tmp_path, database.migrator))
        finally:
            connection.execute("ALTER ROLE quarterdeck_owner NOLOGIN")


@pytest.mark.parametrize("missing", ["api", "worker"])
def test_in_production_no_password_is_replaced_by_one_that_is_derived(
    tmp_path: Path, database: TestDatabase, missing: str
) -> None:
    urls = {"database_url_api": database.api, "database_url_worker": database.worker}
    del urls[f"database_url_{missing}"]
    values = {
        "home": tmp_path,
        "installation_key": KEY,
        "temporal_address": "127.0.0.1:1",
        "database_url": database.admin,
    }
    chosen = Settings.model_validate(
        {**values, **urls, "environment": Environment.PRODUCTION, "public_url": "https://q.example"}
    )
    with pytest.raises(SettingsError, match=f"QUARTERDECK_DATABASE_URL_{missing.upper()} is not set"):
        migrate(chosen)
    for url in (database.api, database.worker):
        psycopg.connect(url).close()
