"""The unit of docs/operating.md: systemd accepts it, and its times fit those of `up`."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.embedded.driver import ROOT
from workers.embedded import down, setup_programs, supervisor

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
    """Where there is one: nobody needs systemd to run the tests."""
    analyze = shutil.which("systemd-analyze")
    [verify] = [line for line in CHAPTER.splitlines() if line.startswith("systemd-analyze")]
    file = tmp_path / "quarterdeck.service"
    file.write_text(
        text.replace("/srv/quarterdeck/.venv/bin/quarterdeck", str(Path(sys.executable).with_name("quarterdeck")))
    )
    command = verify.replace("/etc/systemd/system/quarterdeck.service", str(file))
    if analyze is not None:
        shown = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")
