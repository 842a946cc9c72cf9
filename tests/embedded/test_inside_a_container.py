"""What is to be stood on somebody else's machine, once more in a root as containers have: the files below, each run in one.

`make test` runs a sample, `make chaos` all. What takes root there is left out, since there is none in such a root; outside
nothing is.
"""

import os
import re
import sys

import pytest

from tests.chaos.scoreboard import FULL
from tests.embedded.container import Container, container
from tests.patience import GIVE_UP_S

SAMPLE = ("embedded/test_never_ready.py",)
ALL = (
    *SAMPLE,
    "embedded/test_home_copies.py",
    "embedded/test_backup.py",
    "workflow/fleet/test_reconcile.py",
    "chaos/test_older_copies.py",
    "chaos/test_clocks.py",
    "embedded/test_full_disk.py",
    "chaos/test_rows_held.py",
    "embedded/test_held_rows.py",
    "embedded/test_foreign_environment.py",
    "embedded/test_postgres.py",
    "embedded/test_signals_and_pipes.py",
    "embedded/test_service.py",
    "embedded/test_reboot.py",
    "embedded/test_scarce_cloud.py",
    "chaos/test_throttled.py",
    "chaos/test_zones.py",
    "cli/test_cli_way_out.py",
)
"""Not `embedded/test_account.py`: it makes accounts, and becomes each of them, which takes a root that may."""
TIMEOUT_S = 15 * GIVE_UP_S

pytestmark = pytest.mark.timeout(TIMEOUT_S + GIVE_UP_S)


@pytest.mark.parametrize("file", ALL if FULL else SAMPLE)
def test_it_holds_in_a_container(file: str):
    with container() as inside:
        done = inside.run(command(inside, file), variables(inside), TIMEOUT_S)
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
        assert re.search(r"^[1-9]\d* passed", done.stdout, re.MULTILINE), done.stdout


def command(inside: Container, file: str) -> list[str]:
    options = ["--quiet", "-p", "no:cacheprovider", f"--basetemp={inside.volume / 'pytest'}"]
    return [sys.executable, "-m", "pytest", *options, f"tests/{file}"]


def variables(inside: Container) -> dict[str, str]:
    """Homes of the tests need more room than /tmp has, and what is left out there is not left out here."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "QUARTERDECK_"))}
    return {**ours, "TMPDIR": str(inside.volume)}
