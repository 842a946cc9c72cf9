"""Planted secrets appear in no log, no error and no table, however the request ends."""

from __future__ import annotations

import logging

import psycopg
import pytest
from psycopg import sql

from models.settings import Settings
from tests.api.conftest import PASSWORD, People, RunningApi, client_of, running_api
from tests.secrets_scan import scan_bytes
from tests.servers import TestDatabase

WRONG_PASSWORD = "a-wrong-password-that-is-a-secret-too"


async def sign_in_and_out(api: RunningApi, people: People) -> tuple[list[str], str]:
    """Every use of a secret that can fail or succeed; the secrets, and the bodies of the refusals."""
    person, refusals = people.person(), ""
    good = await api.client.post("/auth/login", json={"email": person.email, "password": PASSWORD})
    token = good.json()["access_token"]
    made = await api.client.post("/api_keys", json={"name": "x"}, headers={"idempotency-key": "once"})
    key = made.json()["api_key"]
    async with client_of(api.app) as client:
        for response in (
            await client.post("/auth/login", json={"email": person.email, "password": WRONG_PASSWORD}),
            await client.post("/auth/login", json={"email": person.email, "password": [WRONG_PASSWORD]}),
            await client.post("/auth/login", content=f'{{"password": "{WRONG_PASSWORD}"'),
            await client.get("/auth/me", headers={"authorization": f"Bearer {token}x"}),
            await client.get("/auth/me", headers={"x-api-key": f"{key}0"}),
            await client.get("/nowhere", headers={"authorization": f"Bearer {token}"}),
        ):
            assert response.status_code >= 400
            refusals += response.text
    assert (await api.client.get("/api_keys")).status_code == 200
    assert (await api.client.post("/auth/logout")).status_code == 200
    return [PASSWORD, WRONG_PASSWORD, token, key, person.api_key], refusals


def every_row(database: TestDatabase) -> bytes:
    with psycopg.connect(database.admin) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [
            connection.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(name))).fetchall()
            for (name,) in tables
        ]
    return repr(rows).encode()


@pytest.mark.parametrize("is_broken", [False, True])
async def test_no_secret_in_logs_errors_and_tables(
    *,
    api_settings: Settings,
    people: People,
    database: TestDatabase,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    is_broken: bool,
):
    with caplog.at_level(logging.DEBUG):
        async with running_api(api_settings) as api:
            secrets, refusals = await sign_in_and_out(api, people)
            if is_broken:  # the driver's own errors carry the parameters of the statement
                people.execute("ALTER TABLE user_sessions ADD CONSTRAINT nobody CHECK (false) NOT VALID")
                person = people.person()
                crashed = await api.client.post("/auth/login", json={"email": person.email, "password": PASSWORD})
                assert crashed.status_code == 500
                refusals += crashed.text
                assert "IntegrityError" in caplog.text
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.split(".")[0] in {"api", "models"})
    output = capfd.readouterr()
    everything = {"refusals": refusals, "log": ours, "stdout": output.out, "stderr": output.err}
    finds = [find for place, text in everything.items() for find in scan_bytes(text.encode(), secrets, place)]
    finds += scan_bytes(caplog.text.encode(), secrets, "every logger, debug level")
    finds += scan_bytes(every_row(database), secrets, "tables")
    assert finds == []


def test_secrets_do_not_show_in_what_the_process_is_made_of(api: RunningApi):
    key = api.state.settings.installation_key
    assert key is not None
    assert scan_bytes(repr(api.state).encode(), [key.get_secret_value()], "state") == []
