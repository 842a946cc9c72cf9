"""Everything that `up` has to stand, once more in a root as containers have (container.py)."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil
import pytest

from tests.embedded.container import OPEN_FILES, UID, Container, container
from tests.embedded.driver import TIMEOUT_S, environment, wait_for
from tests.patience import GIVE_UP_S

pytestmark = pytest.mark.timeout(900)  # two starts of the whole stack, on a machine that may be busy

WORKERS = (sys.executable, "-m", "workers")
START_S = 4 * GIVE_UP_S
"""With everything to make, two programs for every one elsewhere, and a machine that may be busy."""
CLI = (sys.executable, "-m", "cli")


@pytest.fixture(scope="module")
def inside() -> Iterator[Container]:
    with container() as found:
        yield found


@contextmanager
def running(inside: Container, variables: Mapping[str, str]) -> Iterator[None]:
    """The whole stack, as the first process of its container; it is told to stop at the end, as a container is."""
    output = inside.volume / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            inside.argv([*WORKERS, "up"]), env=inside.environment(variables), stdout=file, stderr=file
        )
    try:
        wait_for(lambda: "is ready after" in output.read_text() or process.poll() is not None, "readiness", START_S)
        assert process.poll() is None, output.read_text()
        yield
        [first] = psutil.Process(process.pid).children()
        first.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0, output.read_text()
    finally:
        process.kill()
        process.wait(TIMEOUT_S)


def test_the_whole_stack_starts_serves_stops_and_goes_on(inside: Container):
    home = inside.volume / "home"
    variables = environment(home)
    with running(inside, variables):
        told = told_by(inside, variables, "deploy", "mock-echo-model", "--provider", "mock", "--wait", "--json")
        instance_id = told["instance_id"]
    with running(inside, variables):
        assert told_by(inside, variables, "instance", instance_id, "--json")["status"] == "ready"


def told_by(inside: Container, variables: Mapping[str, str], *arguments: str) -> dict[str, str]:
    done = inside.run([*CLI, *arguments], variables, TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_doctor_says_what_is_unusual(inside: Container):
    done = inside.run([*WORKERS, "doctor", "--json"], environment(inside.volume / "other"), TIMEOUT_S)
    found = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert found["user"]["ok"], found["user"]
    assert str(UID) in found["user"]["text"]
    assert not found["limits"]["ok"]
    assert str(OPEN_FILES) in found["limits"]["text"]
