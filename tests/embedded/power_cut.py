"""All that a stack runs, and all that it serves, gone at one moment: what a power cut leaves of a machine's processes."""

import os
import signal
from contextlib import suppress

import psutil

from tests.embedded.driver import TIMEOUT_S, Up
from workers.embedded.fleet.instances import served_instances


def cut_the_power(run: Up) -> int:
    """Returns when nothing is left; how many agents there were."""
    agents = [served.pid for served in served_instances(run.home / "instances")]
    doomed: list[psutil.Process] = []
    for pid in (run.process.pid, *run.pids().values(), *agents):
        with suppress(psutil.NoSuchProcess):
            doomed += [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for number in (signal.SIGSTOP, signal.SIGKILL):  # none of them sees another one die
        for one in doomed:
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                os.kill(one.pid, number)
    run.process.wait(TIMEOUT_S)
    psutil.wait_procs(doomed, timeout=TIMEOUT_S)
    return len(agents)
