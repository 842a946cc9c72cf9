"""Fixtures that every test may use: real servers, a database of one's own, and guards around the whole session."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from models.base.foreign_variables import leave_out
from models.base.signals import restore_signals
from tests import leftovers
from tests.durations import FilesInOrder, longest_first
from tests.loopback import loopback_only
from tests.memory import folder_in_memory, folder_of_this_session
from tests.needs import REQUIRE_ALL

if TYPE_CHECKING:  # a test that needs no server does not load their libraries
    from temporalio.testing import WorkflowEnvironment

    from tests.servers import TestDatabase, TestPostgres
    from workers.embedded.temporal import TemporalServer

# How fast a machine is says nothing about the product: its own times are measured in benchmarks/.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

restore_signals()  # for what tests start: `nohup make test &` must not make their Ctrl-C deaf


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestPostgres]:
    """A PostgreSQL server of this session; `database` is what most tests want."""
    from tests.servers import running_postgres

    with (
        folder_in_memory("postgres", tmp_path_factory.mktemp("postgres")) as home,
        running_postgres(home) as server,
    ):
        yield server


@pytest.fixture
def database(postgres: TestPostgres) -> Iterator[TestDatabase]:
    """A migrated database for one test."""
    created = postgres.create()
    try:
        yield created
    finally:
        postgres.drop(created)


@pytest.fixture(scope="module")
def module_database(postgres: TestPostgres) -> Iterator[TestDatabase]:
    """A migrated database that the tests of one module share."""
    created = postgres.create()
    try:
        yield created
    finally:
        postgres.drop(created)


@pytest.fixture(scope="session")
def temporal_dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    """The development server: schedules, visibility and retention, but no time skipping (a timer costs about a second)."""
    from tests.servers import running_temporal

    with running_temporal(tmp_path_factory.mktemp("temporal")) as server:
        yield server


@pytest.fixture(scope="session")
async def temporal_time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A server on which timers cost nothing; no schedules, no listing. Its client has the platform's plugin."""
    from temporalio.testing import WorkflowEnvironment

    from activities.runtime.plugin import platform_plugin
    from tests.servers import TEST_CODEC_KEY
    from workers.embedded.temporal import binary

    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary("temporal-test-server"), plugins=[platform_plugin(TEST_CODEC_KEY)]
    )
    try:
        yield environment
    finally:
        await environment.shutdown()


@pytest.fixture(scope="session", autouse=True)
def _this_machine_only() -> Iterator[None]:
    with loopback_only():
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_developer() -> Iterator[None]:
    """A `QUARTERDECK_*` variable of the shell must not decide what a test sees, nor what libraries read there."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("QUARTERDECK_")}
    kept |= leave_out(os.environ)
    yield
    os.environ.update(kept)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FilesInOrder:
    return FilesInOrder(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if REQUIRE_ALL:
        report.outcome = "failed"
        report.longrepr = f"{_reason(report)} (QUARTERDECK_TEST_REQUIRE=all: a skip is a failure)"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skips = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", ()))
    if skips:
        terminalreporter.section("not tested on this machine")
        for reason, count in sorted(skips.items()):
            terminalreporter.write_line(f"{count:4d}  {reason.removeprefix('Skipped: ')}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    factory = getattr(session.config, "_tmp_path_factory", None)
    folder = factory.getbasetemp() if factory is not None else Path("/nonexistent")
    commands = leftovers.end(leftovers.left_behind(folder, folder_of_this_session()))
    shutil.rmtree(folder_of_this_session(), ignore_errors=True)
    if commands:
        sys.stderr.write("\nprocesses left behind by the tests (now ended):\n" + "\n".join(commands) + "\n")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
