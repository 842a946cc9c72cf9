"""A cloud that lets few calls through, or has no room in a zone, as whoever typed `up` meets it. The oracle is the cloud's ledger."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.settings import Settings
from models.settings.derived import simcloud_token, simcloud_url
from tests.chaos.scoreboard import FULL
from tests.embedded.driver import environment, forget, started
from tests.embedded.person import Person
from tests.patience import GIVE_UP_S

ORDER = {"model_id": "mock-echo-model", "provider_code": "mock", "instance_type": "sim-l4-1-24g"}
CLASSES = ("create", "describe", "list", "delete", "volumes")
REFUSED = 0.8 if FULL else 0.5
INSTANCES = 3 if FULL else 1
RIGHT_WITHIN_S = 5 * GIVE_UP_S
"""A call that is refused four times in five is sent five times, some two seconds apart, and a removal is a dozen calls."""

pytestmark = pytest.mark.timeout(4 * RIGHT_WITHIN_S)


class Cloud:
    """The simulated cloud of a running stack, in the hands of who may switch its faults on."""

    def __init__(self, home: Path, port: str) -> None:
        settings = Settings(home=home, simcloud_port=int(port))
        authorization = f"Bearer {simcloud_token(settings).get_secret_value()}"
        self._http = httpx.Client(
            base_url=simcloud_url(settings), headers={"authorization": authorization}, timeout=GIVE_UP_S,
            trust_env=False,
        )  # fmt: skip

    def close(self) -> None:
        self._http.close()

    def fault(self, request_class: str, kind: str, **more: float | str) -> None:
        answer = self._http.post("/sim/faults", json={"class": request_class, "kind": kind, **more})
        assert answer.status_code == 201, answer.text

    def end_faults(self) -> None:
        assert self._http.delete("/sim/faults").is_success

    def refused(self) -> int:
        """Calls that were told to slow down."""
        return int(self._http.get("/sim/calls").json()["throttled"])

    def group(self, instance: str) -> dict[str, Any]:
        """What was ever made for it."""
        ledger = self._http.get("/sim/ledger", params={"group_prefix": "quarterdeck:instance="}).json()
        return dict(ledger["groups"].get(f"quarterdeck:instance={instance}", {}))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Person, Cloud]]:
    home = tmp_path_factory.mktemp("scarce") / "home"
    env = environment(home)
    with ExitStack() as stack:
        stack.callback(forget, home)
        run = stack.enter_context(started(home, "ours", env=env))
        run.wait_until_ready()
        cloud = Cloud(home, env["QUARTERDECK_SIMCLOUD_PORT"])
        stack.callback(cloud.close)
        yield stack.enter_context(Person(home)), cloud


def test_with_most_calls_refused_a_machine_is_made_and_removed(stack: tuple[Person, Cloud]) -> None:
    """`make chaos` lets one call in five through. What is shown meanwhile is the provider's last answer, not what follows from it."""
    person, cloud = stack
    refused = cloud.refused()
    for number, request_class in enumerate(CLASSES):
        cloud.fault(request_class, "throttled", probability=REFUSED, seed=number, retry_after_s=0.1)
    made = [person.deploy(**ORDER) for _ in range(INSTANCES)]
    shown = [told for one in made for told in person.until_status(one, "ready", RIGHT_WITHIN_S)]
    for one in made:
        person.terminate(one)
    shown += [told for one in made for told in person.until_status(one, "terminated", RIGHT_WITHIN_S)]
    cloud.end_faults()
    assert cloud.refused() > refused, "no call was ever refused"
    assert [told for told in shown if "still exists" in told and "THROTTLED" not in told.upper()] == []
    for one in made:
        group = cloud.group(one)
        assert (len(group["ended_machines"]), group["live_machines"], group["live_volumes"]) == (1, [], []), group


def test_an_order_that_names_no_zone_goes_where_there_is_room(stack: tuple[Person, Cloud]) -> None:
    person, cloud = stack
    cloud.fault("create", "no_capacity", zone="local")
    one = person.deploy(**ORDER)
    person.until_status(one, "ready")
    assert person.instance(one)["zone"] == "Simulated B"
    named = person.deploy(**ORDER, zone="local")
    person.until_status(named, "failed")
    assert cloud.group(named) == {}
    cloud.end_faults()
    for each in (one, named):
        person.terminate(each)
        person.until_status(each, "terminated")
