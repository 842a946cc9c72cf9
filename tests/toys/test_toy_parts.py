"""`quarterdeck up` with toys: their shelf comes with the first one and goes with the last."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.embedded.driver import PARTS, Up, command, environment, forget, wait_for
from tests.patience import GIVE_UP_S
from tests.toys.test_toys import PROGRAM

SHELF = "toy-shelf"
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Up]:
    home = tmp_path / "home"
    env, output = environment(home), tmp_path / "up.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [*PROGRAM, "up"], env=env, stdout=file, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
    try:
        yield Up(home, env, process, output)
    finally:
        process.terminate()
        process.wait(GIVE_UP_S)
        forget(home)


def told(run: Up) -> dict[str, object]:
    shown = command(run.env, "status", "--json")
    return {part["name"]: part["health"] for part in json.loads(shown.stdout)["parts"]}


def test_the_shelf_is_there_while_a_toy_is(run: Up) -> None:
    run.wait_until_ready()
    assert told(run).keys() == set(PARTS)
    admin = json.loads((run.home / "admin.json").read_text())
    headers = {"authorization": f"Bearer {admin['api_key']}"}
    with httpx.Client(base_url=admin["api_url"], headers=headers, timeout=GIVE_UP_S, trust_env=False) as http:
        ordered = http.post("/toys", params={"name": "a toy"})
        assert ordered.status_code == 202, ordered.text
        wait_for(lambda: run.is_ready(SHELF), "the shelf", 2 * GIVE_UP_S)
        assert told(run) == dict.fromkeys((*PARTS, SHELF), "ok")
        shelf = psutil.Process(run.pids()[SHELF])
        toy = ordered.json()["resource"]["id"]
        breaking = http.delete(f"/toys/{toy}").json()
        while breaking["status"] not in ("succeeded", "waiting_approval"):
            time.sleep(0.05)
            breaking = http.get(f"/operations/{breaking['id']}").json()
        if breaking["status"] == "waiting_approval":
            assert http.post(f"/operations/{breaking['id']}/approve").status_code == 202
        wait_for(lambda: SHELF not in run.parts(), "the end of the shelf", 2 * GIVE_UP_S)
    assert not shelf.is_running() or shelf.status() == psutil.STATUS_ZOMBIE
    assert run.process.poll() is None
