"""`GET /health`: well, degraded by what is stuck in the outbox, and well again."""

import asyncio
import logging

import pytest

from api import pulse
from models.settings import Settings
from tests.api.conftest import People, RunningApi, running_api
from tests.patience import GIVE_UP_S

INSERT = """
INSERT INTO outbox (id, organization_id, kind, workflow, workflow_id, payload, created_at, next_attempt_at, attempts, alarmed_at)
VALUES (gen_random_uuid(), %s, 'start', 'Instance', 'instance/x', '{}', now(), now() + interval '1 hour', 9, now())
"""


async def until(api: RunningApi, status: str) -> dict[str, object]:
    """What it says once it says so. It never answers with anything but 200: a degraded API works."""
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            answer = await api.client.get("/health")
            assert answer.status_code == 200
            said: dict[str, object] = answer.json()
            if said["status"] == status:
                return said
            await asyncio.sleep(0.02)


async def test_it_is_degraded_while_messages_are_stuck(
    api_settings: Settings, people: People, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pulse, "INTERVAL_S", 0.05)
    caplog.set_level(logging.INFO, "api.pulse")
    for _ in range(2):
        people.execute(INSERT, people.organization())
    async with running_api(api_settings) as api:
        said = await until(api, "degraded")
        assert (said["stuck_messages"], said["database"]) == (2, "connected")
        assert said["reasons"] == ["MESSAGE_NOT_DELIVERED"]
        people.execute("UPDATE outbox SET delivered_at = now()")
        assert (await until(api, "healthy"))["stuck_messages"] == 0
    said_once = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "api.pulse"]
    assert said_once == [
        ("ERROR", "messages are stuck in the outbox: 2 so far"),
        ("INFO", "no message is stuck in the outbox any more"),
    ]


async def test_it_is_degraded_while_machines_belong_to_nobody(
    api_settings: Settings, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "INTERVAL_S", 0.05)
    people.execute(
        "INSERT INTO unowned_machines (provider_queue, provider_instance_id, reason, zone, instance_type, name, created_at) "
        "VALUES ('cloud-mock', 'm-1', 'no_row', 'local', 'sim-l4-1-24g', 'm', now())"
    )
    async with running_api(api_settings) as api:
        said = await until(api, "degraded")
        assert (said["unowned_machines"], said["stuck_messages"]) == (1, 0)
        assert said["reasons"] == ["MACHINE_WITHOUT_OWNER"]
        people.execute("DELETE FROM unowned_machines")
        assert (await until(api, "healthy"))["unowned_machines"] == 0


async def test_the_answer_is_what_clients_know(api_settings: Settings) -> None:
    """Field by field, in their order, wherever each comes from."""
    async with running_api(api_settings) as api:
        said = await until(api, "healthy")
        document = (await api.client.get("/api-docs/openapi.json")).json()["components"]["schemas"]
    assert list(said) == [
        "status", "database", "version", "timestamp", "brains", "memory", "stuck_messages", "unowned_machines", "alarms",
        "reasons",
    ]  # fmt: skip
    assert (said["brains"], said["alarms"], said["reasons"]) == ({"active": 0, "total": 0, "max": 100}, {}, [])
    assert document["Health"]["required"] == list(said)
    assert document["Degradation"]["enum"] == ["MESSAGE_NOT_DELIVERED", "MACHINE_WITHOUT_OWNER", "METERING_UNAVAILABLE"]


async def test_the_pulse_outlives_a_right_that_is_missing(
    api_settings: Settings, people: People, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While a newer or an older `migrate` is at work, for one: nobody would start it again."""
    monkeypatch.setattr(pulse, "INTERVAL_S", 0.05)
    caplog.set_level(logging.WARNING, "api.pulse")
    people.execute(INSERT, people.organization())
    people.execute("REVOKE EXECUTE ON FUNCTION count_stuck_messages FROM quarterdeck_api")
    async with running_api(api_settings) as api:
        async with asyncio.timeout(GIVE_UP_S):
            while "refuses the pulse (ProgrammingError)" not in caplog.text:
                await asyncio.sleep(0.02)
        people.execute("GRANT EXECUTE ON FUNCTION count_stuck_messages TO quarterdeck_api")
        assert (await until(api, "degraded"))["stuck_messages"] == 1
