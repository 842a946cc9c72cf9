"""Toys whose rows somebody holds, as many at once as can be: the connections that all families have together do other work meanwhile
(decision 93).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
import pytest

from models.contracts.schedules import schedule_id_of
from tests.chaos.installation import Installation, installed
from tests.patience import GIVE_UP_S
from tests.toys.test_toy_schedules import schedule_of, until_settled
from tests.toys.test_toys import PROGRAM, asked, decided, made, until, until_status, until_waiting
from workers.embedded.stack import Programs

CALLERS, TOYS = 20, 6
OF_ONE_ORGANIZATION = 6
"""Of the ten connections of requests a family has eight, and one organization of these all but two."""
ON_RECORDS = 3
"""Connections of a family that says nothing of them."""
HELD = "SELECT count(*) AS waiting FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = %s"
WAITING = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE wait_event_type = 'Lock'"

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    programs = Programs(migrate=(*PROGRAM, "migrate"), api=(*PROGRAM, "api"), worker=(*PROGRAM, "worker"))
    async with installed(tmp_path_factory.mktemp("toy-pools"), programs) as running:
        yield running


async def until_so_many_wait(installation: Installation, application: str, connections: int) -> None:
    async def is_so() -> bool:
        [row] = await installation.rows(HELD, application)
        return bool(row["waiting"] == connections)

    await until(is_so)


@asynccontextmanager
async def callers(installation: Installation) -> AsyncIterator[list[httpx.Response]]:
    """Of toys, who come back again and again. Their answers within the block."""
    answers: list[httpx.Response] = []

    async def caller() -> None:
        while True:
            answers.append(await installation.call("GET", "/toys"))

    calling = [asyncio.create_task(caller()) for _ in range(CALLERS)]
    try:
        yield answers
        assert not [one for one in calling if one.done()]
    finally:
        for one in calling:
            one.cancel()
        await asyncio.gather(*calling, return_exceptions=True)


async def test_requests_of_toys_that_wait_leave_connections_to_those_of_others(installation: Installation) -> None:
    """The table is locked, as by a migration that hangs: who reads it waits too."""
    [instance] = await installation.ready("mock")
    await made(installation)
    holder = await installation.another_connection()
    async with holder, holder.transaction():
        await holder.execute("LOCK TABLE toys IN ACCESS EXCLUSIVE MODE")
        async with callers(installation) as answers:
            for method, path in (
                ("GET", "/instances"),
                ("GET", f"/instances/{instance}"),
                ("DELETE", f"/instances/{instance}"),
            ):
                await until_so_many_wait(installation, "quarterdeck-api-requests", OF_ONE_ORGANIZATION)
                answer = await installation.call(method, path)
                assert answer.is_success, answer.text
            await until_so_many_wait(installation, "quarterdeck-api-requests", OF_ONE_ORGANIZATION)
            async with asyncio.timeout(GIVE_UP_S):
                while not answers:
                    await asyncio.sleep(0.05)
            refused = [(answer.status_code, answer.json()["code"]) for answer in answers]
    assert set(refused) == {(503, "DATABASE_BUSY")}
    assert (await installation.call("GET", "/toys")).status_code == 200
    await installation.until_status([instance], "terminated")


async def test_what_is_done_to_toys_leaves_records_to_an_instance(installation: Installation) -> None:
    """Their owners wait, and on the queue that all families have the runs of their schedules. An instance drains there too."""
    toys = await asyncio.gather(*(made(installation) for _ in range(TOYS)))
    [instance] = await installation.ready("mock")
    await until_settled(installation)
    client = await installation.temporal_client()
    holder = await installation.another_connection()
    async with holder, holder.transaction():
        await holder.execute("SELECT 1 FROM toys WHERE id = ANY(%s) FOR UPDATE", [[UUID(one) for one in toys]])
        for toy_id in toys:
            await client.get_schedule_handle(schedule_id_of(await schedule_of(installation, toy_id))).trigger()
        await until_so_many_wait(installation, "quarterdeck-worker-activities-toys", ON_RECORDS)
        breaking = [await asked(installation, "DELETE", f"/toys/{toy_id}") for toy_id in toys]
        await installation.terminate(instance)
        await installation.until_status([instance], "terminated")
        await until_so_many_wait(installation, "quarterdeck-worker-activities-toys", ON_RECORDS)
        waiting = {row["application_name"] for row in await installation.rows(WAITING)}
    assert waiting == {"quarterdeck-worker-activities-toys"}
    for operation in breaking:
        await until_waiting(installation, operation["id"])
        await decided(installation, operation["id"])
    for toy_id in toys:
        await until_status(installation, toy_id, "broken")
