"""Every worker dead: commands are still taken at once, say what they wait for, and take effect once when a worker is back."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import httpx

from tests.chaos import scoreboard
from tests.chaos.installation import Installation
from tests.chaos.ledger import made_outside, verify
from tests.chaos.scenarios import MARKS, scenario

pytestmark = [*MARKS]

ANSWERED_WITHIN_S = 1.0
EFFECT_WITHIN_S = 15.0


async def answered(call: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    began = time.monotonic()
    answer = await call()
    scoreboard.judge("the answer", scoreboard.seconds_since(began), ANSWERED_WITHIN_S)
    return answer


async def operation(installation: Installation, answer: httpx.Response) -> dict[str, object]:
    shown = await installation.call("GET", answer.headers["location"])
    assert shown.status_code == 200, shown.text
    return dict(shown.json())


@scenario
async def test_coder_12331_no_worker_pending(installation: Installation) -> None:
    """Nothing fails and nothing hangs: each operation is pending, and says so."""
    to_end, to_reinstall, both = await installation.ready("mock", 3)
    await installation.worker.kill()

    async def delete(instance_id: UUID) -> httpx.Response:
        return await answered(lambda: installation.call("DELETE", f"/instances/{instance_id}"))

    async def reinstall(instance_id: UUID) -> httpx.Response:
        return await answered(lambda: installation.call("POST", f"/instances/{instance_id}/reinstall", body={}))

    ended, again = await delete(to_end), await delete(to_end)
    renewed, renewed_again = await reinstall(to_reinstall), await reinstall(to_reinstall)
    await reinstall(both)
    last = await delete(both)
    answers = (ended, again, renewed, renewed_again, last)
    assert [answer.status_code for answer in answers] == [202] * 5, [answer.text for answer in answers]
    assert ended.json()["operation"]["id"] == again.json()["operation"]["id"], "asked twice, one operation"
    assert renewed.json()["operation"]["id"] == renewed_again.json()["operation"]["id"]
    refused = await reinstall(both)
    assert (refused.status_code, refused.json()["code"]) == (409, "INSTANCE_TERMINATING")
    for answer in (ended, renewed, last):
        shown = await operation(installation, answer)
        assert shown["status"] == "pending", shown
        assert shown["waiting_on"], "an operation that waits says for what"

    await installation.worker.start()
    await installation.until_status([to_end, both], "terminated", EFFECT_WITHIN_S)
    await installation.until(
        [to_reinstall], lambda row: row["status"] == "ready" and row["generation"] == 2, EFFECT_WITHIN_S
    )
    await verify(installation, [to_end, to_reinstall, both])
    await installation.terminate(to_reinstall)
    await installation.until_status([to_reinstall], "terminated")


@scenario
async def test_what_was_never_begun_ends_without_a_worker(installation: Installation) -> None:
    """Ordered and ended before any worker saw it: it is terminated at once, and a worker's return makes nothing of it."""
    await installation.worker.kill()
    made = await installation.deploy("mock", 4)
    for one in made:
        answer = await answered(lambda one=one: installation.call("DELETE", f"/instances/{one}"))  # type: ignore[misc]
        assert answer.json()["status"] == "terminated", answer.text
    await installation.worker.start()
    await _all_delivered(installation)
    workflows = await installation.temporal_client()
    for one in made:
        await workflows.get_workflow_handle(f"instance/{one}").result()
    outside = await made_outside(installation)
    assert [one for one in made if one in outside] == []


async def _all_delivered(installation: Installation) -> None:
    """The API delivers at once what it can; the rest waits for the worker's dispatcher."""
    async with asyncio.timeout(scoreboard.patience_s(EFFECT_WITHIN_S)):
        while await installation.rows("SELECT 1 FROM outbox WHERE delivered_at IS NULL"):
            await asyncio.sleep(0.1)
