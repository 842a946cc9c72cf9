"""Rows that somebody holds for long: who needs them is told to come back, and everybody else does not notice (decision 63)."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import httpx
import psycopg

from api.databases import SPARED
from models.base.ids import new_id
from models.domain.identity.api_keys import new_api_key
from models.repositories.shares import Shares
from tests.chaos import scoreboard
from tests.chaos.installation import Installation
from tests.chaos.ledger import verify
from tests.chaos.scenarios import MARKS, scenario

pytestmark = [*MARKS]

CALLERS = 30 if resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 256 else 12
"""More than requests have connections to the database. Few open files are few callers at a time, too."""
EFFECT_WITHIN_S = 15.0
WAITING = (
    "SELECT count(*) AS waiting FROM pg_stat_activity"
    " WHERE application_name = 'quarterdeck-api-requests' AND wait_event_type = 'Lock'"
)
BEATS = "SELECT instance_id, last_heartbeat_at FROM instance_liveness WHERE instance_id = ANY(%s)"
NEW_KEY = (
    "INSERT INTO api_keys (id, organization_id, user_id, name, key_prefix, key_hash, scopes)"
    " SELECT %s, organization_id, user_id, 'new', %s, %s, '[]' FROM api_keys ORDER BY created_at LIMIT 1"
)


@scenario
async def test_requests_that_hang_on_held_rows_starve_nothing(installation: Installation) -> None:
    serving, to_end = made = await installation.ready("mock", 2)
    async with held_stream(installation, serving), commands_without_end(installation, to_end) as answers:
        await until_every_connection_waits(installation)
        before = await beats(installation, made)
        async with asyncio.timeout(scoreboard.patience_s(EFFECT_WITHIN_S)):
            for _ in range(2):
                while any(at <= before[one] for one, at in (await beats(installation, made)).items()):
                    await asyncio.sleep(0.1)
                before = await beats(installation, made)
        health = await installation.http.get(f"{installation.admin['api_url']}/health")
        assert health.status_code == 200, health.text
        body = {"model": "mock-echo-model", "messages": [{"role": "user", "content": "x"}]}
        assert (await installation.call("POST", "/v1/chat/completions", body=body)).status_code == 200
        assert await status_of_a_new_key(installation) == 200
        await until_every_connection_waits(installation)
    assert answers
    assert {answer.status_code for answer in answers} == {503}
    assert all(answer.json()["code"] == "DATABASE_BUSY" and answer.headers["retry-after"] for answer in answers)
    await installation.terminate(*made)
    await installation.until_status(made, "terminated", EFFECT_WITHIN_S)
    await verify(installation, made)


@asynccontextmanager
async def held_stream(installation: Installation, instance_id: UUID) -> AsyncIterator[None]:
    """The row that numbers the events of the organization is another session's: every command needs it."""
    organization = (await installation.instances([instance_id]))[instance_id]["organization_id"]
    async with await psycopg.AsyncConnection.connect(installation.server.url()) as holder:
        statement = "SELECT 1 FROM event_streams WHERE stream = %s FOR UPDATE"
        assert await (await holder.execute(statement, [f"organization/{organization}"])).fetchone()
        yield
        await holder.rollback()


@asynccontextmanager
async def commands_without_end(installation: Installation, instance_id: UUID) -> AsyncIterator[list[httpx.Response]]:
    """Callers who come back again and again. Their answers, of which each was given within the block."""
    answers: list[httpx.Response] = []

    async def caller() -> None:
        while True:
            answers.append(await installation.call("DELETE", f"/instances/{instance_id}"))

    callers = [asyncio.create_task(caller()) for _ in range(CALLERS)]
    try:
        yield answers
        async with asyncio.timeout(scoreboard.patience_s(EFFECT_WITHIN_S)):
            while not answers:
                await asyncio.sleep(0.1)
    finally:
        for one in callers:
            one.cancel()
        await asyncio.gather(*callers, return_exceptions=True)


async def until_every_connection_waits(installation: Installation) -> None:
    """All that one organization may have of what the family of the route may."""
    async with asyncio.timeout(scoreboard.patience_s(EFFECT_WITHIN_S)):
        most = Shares(installation.settings.database_pool_size, 0.0, TimeoutError).most_of("fleet") - SPARED
        while (await installation.rows(WAITING))[0]["waiting"] < most:
            await asyncio.sleep(0.02)


async def beats(installation: Installation, made: list[UUID]) -> dict[UUID, datetime]:
    return {row["instance_id"]: row["last_heartbeat_at"] for row in await installation.rows(BEATS, made)}


async def status_of_a_new_key(installation: Installation) -> int:
    key = new_api_key()
    await installation.rows(NEW_KEY, new_id(), key.shown_prefix, key.hash)
    answer = await installation.http.get(
        f"{installation.admin['api_url']}/v1/models", headers={"authorization": f"Bearer {key.plaintext}"}
    )
    return answer.status_code
