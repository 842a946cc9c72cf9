"""After a power cut: what is dead takes no requests, and is back by itself. With a real stack, agent and model."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.embedded.driver import command, environment, forget, started
from tests.embedded.person import Person
from tests.embedded.power_cut import cut_the_power
from tests.patience import OF_A_STACK_S
from workers.embedded.fleet.instances import end_instances, served_instances

pytestmark = pytest.mark.timeout(4 * OF_A_STACK_S)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "home"
    yield path
    end_instances(path / "instances")
    forget(path)


@pytest.fixture
def env(home: Path) -> dict[str, str]:
    return environment(home)


def test_a_served_model_is_back_after_a_power_cut_and_nobody_is_sent_to_the_dead(
    home: Path, env: dict[str, str]
) -> None:
    instances = home / "instances"
    with ExitStack() as stack:
        with started(home, "ours", env=env) as run:
            run.wait_until_ready()
            person = stack.enter_context(Person(home))
            instance = person.deploy()
            person.until_answered()
            assert cut_the_power(run) == 1
        assert served_instances(instances) == []
        found = json.loads(command(env, "doctor", "--json").stdout)
        [finding] = [each for each in found if each["check"] == "served instances"]
        assert (finding["ok"], finding["text"].partition(":")[0]) == (False, "1 of 1 do not run")
        with started(home, "ours", env=env) as again:
            told = person.until_answered()
            assert person.status(instance) == "ready"
            assert told, "the agent was dead"
            assert {status for status, _ in told} == {503}, told
            again.wait_until_ready()
            [back] = served_instances(instances)
            assert again.stop() == 0
        with started(home, "ours", env=env) as third:
            third.wait_until_ready()
            person.until_answered()
            assert served_instances(instances) == [back], "an agent that outlived its stack is left alone"
