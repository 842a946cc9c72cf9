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


class KilledApi:
    """Requests whose API dies on the way. After each death it is started for the next one, which its marker holds back."""

    def __init__(self, installation: Installation) -> None:
        self.installation, self._marker = installation, installation.folder / "api.once"

    async def start(self, point: str) -> None:
        self._marker.touch()
        await self.installation.api.start(**{CRASH_AT: f"{CRASH_POINT}:{point}", CRASH_ONCE: str(self._marker)})

    async def twice(self, method: str, path: str, *, body: object = None, then: str) -> httpx.Response:
        """The answer to the repetition; the first try got none. `then` is where the API dies the next time."""
        key = str(uuid4())
        self._marker.unlink()
        with pytest.raises(httpx.TransportError):
            await self.installation.call(method, path, key=key, body=body)
        assert await self.installation.api.killed_itself(5.0), "the API was to die on the way"
        await self.start(then)
        answer = await self.installation.call(method, path, key=key, body=body)
        again = await self.installation.call(method, path, key=key, body=body)
        assert (again.status_code, again.json()) == (answer.status_code, answer.json()), "a key has one answer"
        assert again.headers["idempotent-replayed"] == "true"
        return answer


@scenario
async def test_commands_whose_answers_were_lost_take_effect_once(installation: Installation) -> None:
    """An order at each point, then a reinstall and a termination that were committed and not answered."""
    killed = KilledApi(installation)
    await installation.api.stop()
    await killed.start("before_call")
    made = [
        await _ordered_once(killed, was_committed=False, then="after_call"),
        await _ordered_once(killed, was_committed=True, then="after_return"),
        await _ordered_once(killed, was_committed=True, then="after_call"),
    ]
    one = made[0]
    answer = await killed.twice("POST", f"/instances/{one}/reinstall", body={}, then="after_call")
    assert answer.status_code == 202, answer.text
    await installation.until([one], lambda row: row["status"] == "ready" and row["generation"] == 2, 15.0)
    answer = await killed.twice("DELETE", f"/instances/{one}", then="after_call")
    assert answer.status_code == 202, answer.text
    took = await installation.until_status([one], "terminated", 15.0)
    scoreboard.recovered("the API at a termination", 1, took)
    operations = await installation.rows("SELECT kind, status FROM operations WHERE resource_id = %s ORDER BY id", one)
    assert [(row["kind"], row["status"]) for row in operations] == [
        ("instance.provision", "succeeded"),
        ("instance.reinstall", "succeeded"),
        ("instance.terminate", "succeeded"),
    ]
    assert (await installation.instances([one]))[one]["generation"] == 2
    await verify(installation, made)
    await installation.terminate(*made)
    await installation.until_status(made, "terminated")
    await verify(installation, made)


async def _ordered_once(killed: KilledApi, *, was_committed: bool, then: str) -> UUID:
    """The instance, ready. Nothing else was ordered, and the repetition is a replay only where there was a first answer."""
    installation = killed.installation
    before = {row["id"] for row in await installation.rows("SELECT id FROM instances")}
    answer = await killed.twice("POST", "/deployments", body=ORDER, then=then)
    assert answer.status_code == 200, answer.text
    assert (answer.headers.get("idempotent-replayed") == "true") is was_committed
    made = [row["id"] for row in await installation.rows("SELECT id FROM instances") if row["id"] not in before]
    assert made == [UUID(answer.json()["instance_id"])], "one order, one instance"
    scoreboard.recovered("the API at an order", 1, await installation.until_status(made, "ready", 15.0))
    return UUID(str(made[0]))
