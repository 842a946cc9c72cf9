"""`-p tests.seconds`: the seconds of each family beside its budget, at the end of a run. `--record-durations` writes down those of each file."""

import os
from collections import defaultdict

import pytest

from tests import budgets, durations

MEASURED = pytest.StashKey[defaultdict[str, float]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-durations", action="store_true", help="write tests/durations.json (make durations)")


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:  # reports of the other processes come to this one
        config.stash[MEASURED] = defaultdict(float)
        config.pluginmanager.register(_Clock(config.stash[MEASURED]))


class _Clock:
    def __init__(self, measured: defaultdict[str, float]) -> None:
        self._measured = measured

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._measured[report.nodeid.partition("::")[0].removeprefix("tests/")] += report.duration


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: pytest.ExitCode, config: pytest.Config
) -> None:
    measured = config.stash.get(MEASURED, None)
    if not measured:
        return
    terminalreporter.section("seconds per family")
    for line in budgets.lines(measured):
        terminalreporter.write_line(line)
    if config.getoption("--record-durations") and exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        durations.record(measured)
