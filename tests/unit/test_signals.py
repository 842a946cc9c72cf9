"""Whatever ignored and blocked signals when it started something of ours: it can be interrupted, ended and reaped."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import api.__main__
import node.__main__
import simcloud.__main__
import workers.embedded.up
import workers.worker
from models.settings import Settings
from tests.embedded.driver import ROOT
from tests.signals import PYTHON_IGNORES, ignored_and_blocked

RESTORED = """
import signal
from {module} import restore_signals
from tests.signals import blocked_and_ignored_by
restore_signals()
print(*blocked_and_ignored_by(), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.parametrize("module", ["models.base.signals", "node.signals", "simcloud.signals"])
def test_all_is_as_python_has_it_but_a_hang_up(module: str) -> None:
    with ignored_and_blocked(signal.SIGHUP, signal.SIGCHLD):
        process = subprocess.Popen(
            [sys.executable, "-c", RESTORED.format(module=module)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
    shown, _ = process.communicate(timeout=60)
    assert shown == f"0 {PYTHON_IGNORES | 1 << signal.SIGHUP - 1} True\n"


class Restored(Exception):
    pass


@pytest.mark.parametrize(
    "module", [api.__main__, workers.worker, workers.embedded.up, simcloud.__main__, node.__main__]
)
def test_every_part_that_runs_long_restores_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: ModuleType
) -> None:
    def restored() -> None:
        raise Restored

    starts: dict[ModuleType, Callable[[], object]] = {
        api.__main__: api.__main__.main,
        workers.worker: lambda: workers.worker.main([]),
        workers.embedded.up: lambda: workers.embedded.up.up(Settings(home=tmp_path)),
        simcloud.__main__: lambda: simcloud.__main__.main(["--db", str(tmp_path / "cloud.db"), "--port", "0"]),
        node.__main__: node.__main__.main,
    }
    monkeypatch.setattr(sys, "argv", ["node", "--home", str(tmp_path)])
    monkeypatch.setenv("QUARTERDECK_HOME", str(tmp_path))
    monkeypatch.setattr(module, "restore_signals", restored)
    monkeypatch.setattr("os.umask", lambda _mask: 0)
    with pytest.raises(Restored):
        starts[module]()


def test_this_process_was_started_as_whatever_starts_tests_pleases() -> None:
    """tests/conftest.py has restored them: what a test starts without a starter of its own is no deaf program."""
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
