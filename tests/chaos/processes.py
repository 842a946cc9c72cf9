"""One process of an installation in the hands of a test: started, killed, frozen, started again with other environment."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil

from activities.runtime.crash import CRASH_AT, CRASH_ONCE
from tests.chaos import scoreboard
from tests.patience import GIVE_UP_S
from workers.embedded import processes
from workers.embedded.processes import ProcessSpec
from workers.embedded.supervisor import Part

READY_WITHIN_S = 40.0
POLL_S = 0.02


class ControlledProcess:
    """Nobody restarts it but the test. All methods belong to the main thread, whose end would be the process's (prctl)."""

    def __init__(self, part: Part, variables: Mapping[str, str]) -> None:
        self.part = part
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None
        self._spec: ProcessSpec | None = None
        self.is_special = False
        """Whether it was started with an environment of its own."""
        self.started_at = 0.0
        """Monotonic moment at which it was ready the last time."""

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.part.name} was never started"
        return self._process.pid

    async def start(self, **environment: str) -> None:
        """Returns once it is ready. `environment` holds for this life only."""
        assert not self.runs(), f"{self.part.name} runs already"
        self.is_special = bool(environment)
        prepared = await asyncio.to_thread(self.part.prepare)
        self._spec = replace(prepared, env={**prepared.env, **self._variables, **environment})
        self._process = processes.spawn(self._spec)
        deadline = time.monotonic() + scoreboard.patience_s(READY_WITHIN_S)
        while not await asyncio.to_thread(self.part.is_ready):
            assert self.runs(), f"{self.part.name} ended: {processes.last_line(self._spec.log)}"
            assert time.monotonic() < deadline, f"{self.part.name} is not ready: {processes.last_line(self._spec.log)}"
            await asyncio.sleep(POLL_S)
        self.started_at = time.monotonic()

    async def kill(self) -> None:
        """SIGKILL to the process and to all that it started, at once: nothing of it can clean up."""
        assert self._process is not None
        with suppress(psutil.NoSuchProcess):
            family = [*psutil.Process(self.pid).children(recursive=True), psutil.Process(self.pid)]
            for one in family:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            await asyncio.to_thread(psutil.wait_procs, family[:-1], timeout=5.0)
        await asyncio.to_thread(self._process.wait)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def killed_itself(self, within_s: float) -> bool:
        """Whether it ended by SIGKILL within the time, as a crash point ends it."""
        deadline = time.monotonic() + scoreboard.patience_s(within_s)
        while self.runs():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_S)
        assert self._process is not None
        return self._process.returncode == -signal.SIGKILL

    async def stop(self) -> None:
        """As its supervisor would stop it."""
        if self._process is not None and self._spec is not None:
            self.thaw()
            await asyncio.to_thread(processes.stop, self._process, self._spec)

    def _signal(self, number: signal.Signals) -> None:
        if self.runs():
            assert self._process is not None
            self._process.send_signal(number)


class Armed:
    """A process that dies at one point after the other, each life begun for the death to come while it recovers from the last: one
    start for each death. The marker holds a death back until it is due.
    """

    def __init__(self, process: ControlledProcess, marker: Path) -> None:
        self._process, self._marker = process, marker

    async def start(self, point: str | None, *, due: bool = False) -> None:
        """It is ready to die at this point once that is due, or from its start; None: as ever."""
        if point is None:
            await self._process.start()
            return
        if due:
            self._marker.unlink(missing_ok=True)
        else:
            self._marker.touch()
        await self._process.start(**{CRASH_AT: point, CRASH_ONCE: str(self._marker)})

    def make_due(self) -> None:
        self._marker.unlink()

    async def dies(self) -> None:
        """Returns once it did. Fails where it lives on, or died elsewhere than at its point."""
        assert await self._process.killed_itself(GIVE_UP_S), "it was not killed at its point"
        assert self._marker.exists(), "it died elsewhere than at its point"
