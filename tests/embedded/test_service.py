"""The unit of docs/operating.md: systemd accepts it, and its times fit those of `up`."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.embedded.driver import ROOT, environment, home_in_memory, wait_for
from tests.embedded.manager import listening
from tests.needs import need_program
from tests.patience import GIVE_UP_S, OF_A_STACK_S
from workers.embedded import down, setup_programs, supervisor

PROGRAM = Path(sys.executable).with_name("quarterdeck")
CHAPTER = (ROOT / "docs" / "operating.md").read_text().partition("### As a service\n")[2].partition("\n##")[0]


@pytest.fixture(scope="module")
def text() -> str:
    [found] = re.findall(r"```ini\n(.*?)```", CHAPTER, re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def unit(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd minds the case
    parser.read_string(text)
    return parser


def test_it_leaves_up_the_time_that_it_takes(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    longest_start_s = 2 * setup_programs.SETUP_TIMEOUT_S + 2 * supervisor.GIVE_UP_AFTER_S
    assert int(service["TimeoutStartSec"]) > longest_start_s
    assert int(service["TimeoutStopSec"]) > down.STOP_TIMEOUT_S
    assert (service["Type"], service["KillMode"]) == ("notify", "mixed")
    assert service["ExecStart"].endswith("/.venv/bin/quarterdeck up")
    assert service["Environment"].startswith("QUARTERDECK_HOME=")


def test_systemd_accepts_it_without_a_word(text: str, tmp_path: Path) -> None:
    need_program("systemd-analyze", "apt-get install systemd")
    [verify] = [line for line in CHAPTER.splitlines() if line.startswith("systemd-analyze")]
    file = tmp_path / "quarterdeck.service"
    file.write_text(text.replace("/srv/quarterdeck/.venv/bin/quarterdeck", str(PROGRAM)))
    command = verify.replace("/etc/systemd/system/quarterdeck.service", str(file))
    shown = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")


def test_what_it_starts_says_when_it_is_ready_and_stops_when_it_is_told(
    unit: configparser.ConfigParser, tmp_path: Path
) -> None:
    """As a manager starts it: from the unit's folder, with the environment of the unit and little else, SIGTERM to `up` alone."""
    service, address = unit["Service"], str(tmp_path / "notify")
    name, _, folder = service["Environment"].partition("=")
    with home_in_memory(tmp_path) as home, listening(address) as told:
        given = {
            **{key: value for key, value in environment(home).items() if key.endswith("_PORT") or key == "PATH"},
            name: folder.replace("/srv/quarterdeck/home", str(home)),
            "NOTIFY_SOCKET": address,
        }
        command = service["ExecStart"].replace("/srv/quarterdeck/.venv/bin/quarterdeck", str(PROGRAM))
        process = subprocess.Popen(
            command.split(), cwd=ROOT, env=given, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )  # fmt: skip
        try:
            wait_for(lambda: "READY=1" in told(), "word that it is ready", OF_A_STACK_S)
            process.terminate()
            assert process.wait(GIVE_UP_S) == 0
            assert told()[-1] == "STOPPING=1"
        finally:
            process.kill()
            process.wait()
