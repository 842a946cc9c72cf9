"""A whole installation, started under umask 077, in which somebody holds a row that every command needs."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from models.settings import Settings
from models.settings.derived import admin_url
from tests.embedded.driver import environment, forget, wait_for
from tests.embedded.test_backup import Installation, running
from tests.patience import GIVE_UP_S

MODEL = "mock-echo-model"
CALLERS = 12
HOLD = "SELECT 1 FROM event_streams WHERE stream LIKE 'organization/%' ORDER BY last_seq DESC LIMIT 1 FOR UPDATE"
WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE application_name = 'quarterdeck-api-requests' AND wait_event_type = 'Lock'"
)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """What it makes is closed to others, and PostgreSQL, which under root is somebody else, runs all the same."""
    home, before = tmp_path / "home", os.umask(0o077)
    try:
        with running(environment(home)) as one:
            yield one
    finally:
        os.umask(before)
        forget(home)


@contextmanager
def held(installation: Installation) -> Iterator[None]:
    with psycopg.connect(admin_url(Settings(home=installation.home))) as holder:
        assert holder.execute(HOLD).fetchone()
        yield
        holder.rollback()


def asked(installation: Installation, method: str, path: str, body: object = None) -> httpx.Response:
    key = json.loads((installation.home / "admin.json").read_text())["api_key"]
    return httpx.request(
        method, f"http://127.0.0.1:{installation.up.env['QUARTERDECK_API_PORT']}{path}", json=body,
        headers={"authorization": f"Bearer {key}"}, timeout=GIVE_UP_S, trust_env=False,
    )  # fmt: skip


def waits(installation: Installation) -> bool:
    with psycopg.connect(admin_url(Settings(home=installation.home))) as connection:
        row = connection.execute(WAITING).fetchone()
    return row is not None and row[0] > 0


def test_who_needs_it_is_told_to_come_back_and_nobody_else_notices(installation: Installation) -> None:
    order = {"model_id": MODEL, "provider_code": "mock"}
    served = installation.call("POST", "/deployments", order)["instance_id"]
    installation.status_becomes(served, "ready")
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}
    with ThreadPoolExecutor(CALLERS) as callers:
        with held(installation):
            commands = [callers.submit(asked, installation, "DELETE", f"/instances/{served}") for _ in range(CALLERS)]
            wait_for(lambda: waits(installation), "a command that waits", GIVE_UP_S)
            assert asked(installation, "GET", "/health").status_code == 200
            assert asked(installation, "POST", "/v1/chat/completions", chat).status_code == 200
            refused = [command.result(GIVE_UP_S) for command in commands]
        assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(503, "DATABASE_BUSY")}
        assert all(answer.headers["retry-after"] for answer in refused)
    installation.call("DELETE", f"/instances/{served}")
    installation.status_becomes(served, "terminated")
    assert not installation.machines(served)["live_machines"]
