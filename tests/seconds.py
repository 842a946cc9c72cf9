"""`-p tests.seconds`: what fails, as it fails, and at the end of a run the seconds of each family beside its budget.

`--record-durations` writes down those of each file.
"""

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
        config.pluginmanager.register(_Failures(config))


class _Clock:
    def __init__(self, measured: defaultdict[str, float]) -> None:
        self._measured = measured

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._measured[report.nodeid.partition("::")[0].removeprefix("tests/")] += report.duration


class _Failures:
    """A run of a quarter of an hour shows nothing but dots until its end; who waits for it wants to know before."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.write_line(f"\n{report.outcome.upper()} at {report.when}: {report.nodeid}")


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
