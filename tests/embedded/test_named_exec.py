"""Programs that need a name, run by somebody who has none (named_exec.py); a whole `up` of such a one is in test_container.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.embedded.container import UID, need_namespaces
from tests.embedded.driver import TIMEOUT_S, environment
from workers.embedded import named_exec
from workers.embedded.account import GIVE_A_NAME, named_argv

NAMELESS = ("unshare", "--user", f"--map-user={UID}", f"--map-group={UID}", "--")
NAMELESS_WITHOUT_NAMESPACES = (
    "unshare", "--user", "--map-root-user", "sh", "-c",
    f'echo 1 > /proc/sys/user/max_user_namespaces; exec {" ".join(NAMELESS)} "$@"', "sh",
)  # fmt: skip
WORKERS = (sys.executable, "-m", "workers")


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    need_namespaces()


def named(*command: str) -> list[str]:
    return [sys.executable, "-I", "-S", named_exec.__file__, "1", "--", *command]


def test_it_has_the_name_and_what_it_makes_is_ours(tmp_path: Path):
    made = tmp_path / "made"
    command = [*NAMELESS, *named("/bin/sh", "-c", f"id -u; touch {made}")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    assert done.stdout == "1\n"
    assert made.stat().st_uid == tmp_path.stat().st_uid


def test_where_no_namespace_can_be_had_it_says_so():
    command = [*NAMELESS_WITHOUT_NAMESPACES, *named("/bin/true")]
    assert subprocess.run(command, check=False, timeout=TIMEOUT_S).returncode == named_exec.REFUSED


def test_up_says_what_to_do_then_and_the_doctor_said_it_before(tmp_path: Path):
    home = tmp_path / "home"
    env = environment(home)
    told, refused = (
        subprocess.run(
            [*NAMELESS_WITHOUT_NAMESPACES, *WORKERS, *words], env=env, capture_output=True, text=True, check=False,
            timeout=TIMEOUT_S,
        )
        for words in (("doctor", "--json"), ("up",))
    )  # fmt: skip
    finding = next(each for each in json.loads(told.stdout) if each["check"] == "user")
    assert not finding["ok"]
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert GIVE_A_NAME in refused.stderr
    assert not list(home.rglob("PG_VERSION"))


def test_somebody_with_a_name_runs_it_as_it_is():
    assert named_argv(["/bin/true"]) == ["/bin/true"]
