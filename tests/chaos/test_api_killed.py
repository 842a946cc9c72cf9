"""The API killed around the commit of a command: the same request with the same key gives one effect and one answer."""

from uuid import UUID, uuid4

import httpx
import pytest

from activities.runtime.crash import CRASH_AT, CRASH_ONCE
from api.commands import CRASH_POINT
from tests.chaos import scoreboard
from tests.chaos.installation import Installation
from tests.chaos.ledger import verify
from tests.chaos.scenarios import MARKS, scenario

pytestmark = [*MARKS]

ORDER = {"model_id": "mock-echo-model", "provider_code": "mock", "instance_type": "mock-local-instance"}
POINTS = ("before_call", "after_call", "after_return")


class KilledApi:
    """Requests whose API dies at a point on the way; it is started again before they are repeated."""

    def __init__(self, installation: Installation) -> None:
        self.installation, self._marker = installation, installation.folder / "api.once"

    async def arm(self, point: str) -> None:
        await self.installation.api.stop()
        self._marker.unlink(missing_ok=True)
        await self.installation.api.start(**{CRASH_AT: f"{CRASH_POINT}:{point}", CRASH_ONCE: str(self._marker)})

    async def twice(self, method: str, path: str, *, body: object = None) -> httpx.Response:
        """The answer to the repetition; the first try got none."""
        key = str(uuid4())
        with pytest.raises(httpx.TransportError):
            await self.installation.call(method, path, key=key, body=body)
        assert await self.installation.api.killed_itself(5.0), "the API was to die on the way"
        await self.installation.api.start()
        answer = await self.installation.call(method, path, key=key, body=body)
        again = await self.installation.call(method, path, key=key, body=body)
        assert (again.status_code, again.json()) == (answer.status_code, answer.json()), "a key has one answer"
        assert again.headers["idempotent-replayed"] == "true"
        return answer


@pytest.mark.parametrize("point", POINTS)
@scenario
async def test_an_order_whose_answer_was_lost_makes_one_instance(installation: Installation, point: str) -> None:
    killed = KilledApi(installation)
    before = {row["id"] for row in await installation.rows("SELECT id FROM instances")}
    await killed.arm(point)
    answer = await killed.twice("POST", "/deployments", body=ORDER)
    assert answer.status_code == 200, answer.text
    was_committed = point != "before_call"
    assert (answer.headers.get("idempotent-replayed") == "true") is was_committed
    made = [row["id"] for row in await installation.rows("SELECT id FROM instances") if row["id"] not in before]
    assert made == [UUID(answer.json()["instance_id"])], "one order, one instance"
    took = await installation.until_status(made, "ready", 15.0)
    scoreboard.recovered(f"api_command:{point}", 1, took)
    await verify(installation, made)


@scenario
async def test_commands_whose_answers_were_lost_take_effect_once(installation: Installation) -> None:
    killed = KilledApi(installation)
    [one] = await installation.ready("mock")
    await killed.arm("after_call")
    answer = await killed.twice("POST", f"/instances/{one}/reinstall", body={})
    assert answer.status_code == 202, answer.text
    await installation.until([one], lambda row: row["status"] == "ready" and row["generation"] == 2, 15.0)

    await killed.arm("after_call")
    answer = await killed.twice("DELETE", f"/instances/{one}")
    assert answer.status_code == 202, answer.text
    await installation.until_status([one], "terminated", 15.0)
    operations = await installation.rows("SELECT kind, status FROM operations WHERE resource_id = %s ORDER BY id", one)
    assert [(row["kind"], row["status"]) for row in operations] == [
        ("instance.provision", "succeeded"),
        ("instance.reinstall", "succeeded"),
        ("instance.terminate", "succeeded"),
    ]
    assert (await installation.instances([one]))[one]["generation"] == 2
    await verify(installation, [one])
