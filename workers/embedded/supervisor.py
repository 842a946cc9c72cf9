"""Keeps the parts of the stack running: started, probed, restarted with back-off when they die, stopped in order."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from models.base.clock import utc_now
from workers.embedded import processes
from workers.embedded.errors import StartError
from workers.embedded.processes import ProcessIdentity, ProcessSpec

PROBE_INTERVAL_S = 0.05
FIRST_RESTART_AFTER_S, LONGEST_RESTART_AFTER_S = 0.25, 10.0
SETTLED_AFTER_S = 30.0
"""A part that ran this long without dying is restarted at once the next time."""

FAILURES_BEFORE_GIVING_UP = 3
"""So many ends before it was ever ready mean that it cannot start here: `up` says so instead of trying for ever."""


class PartState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Part:
    """One program of the stack. `prepare` is called before every start, `is_ready` until it says yes; both may block."""

    name: str
    prepare: Callable[[], ProcessSpec]
    is_ready: Callable[[], bool]
    ready_timeout_s: float = 30.0
    port: int | None = None
    url: str | None = None


class SupervisedPart:
    """A part with its process over all its restarts. `on_change` is called after every change of what `status` shows."""

    def __init__(self, part: Part, on_change: Callable[[], None]) -> None:
        self.part = part
        self.state = PartState.STOPPED
        self.restarts = 0
        self.since: datetime = utc_now()
        self.identity: ProcessIdentity | None = None
        self.spec: ProcessSpec | None = None
        self._on_change = on_change
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._first_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Returns when the part is ready for the first time; from then on it is kept running. Raises StartError."""
        self._keeper = asyncio.create_task(self._keep(), name=f"keep-{self.part.name}")
        await self._first_ready

    async def stop(self) -> None:
        """The process and its group are gone when this returns, at the latest `stop_timeout_s` later."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await self._end_process()
        self._become(PartState.STOPPED)

    def kill(self) -> None:
        """For the impatient: no time to finish."""
        if self._process is not None and self._process.returncode is None:
            processes.kill_group(self._process.pid)

    async def _keep(self) -> None:
        failures = 0
        while True:
            started = asyncio.get_running_loop().time()
            try:
                reason = await self._run_once()
            except StartError as error:
                return self._give_up(str(error))
            except OSError as error:  # the disk is full, the program is gone
                reason = str(error)
            settled = asyncio.get_running_loop().time() - started > SETTLED_AFTER_S
            failures = 1 if settled else failures + 1
            if not self._first_ready.done() and failures >= FAILURES_BEFORE_GIVING_UP:
                return self._give_up(f"{self.part.name} does not start: {reason}")
            self.restarts += 1
            self._become(PartState.RESTARTING)
            await asyncio.sleep(min(FIRST_RESTART_AFTER_S * 2 ** (failures - 1), LONGEST_RESTART_AFTER_S))

    async def _run_once(self) -> str:
        """One life of the process. Returns why it is over."""
        self._become(PartState.STARTING)
        spec = self.spec = await asyncio.to_thread(self.part.prepare)
        with spec.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *spec.owned_argv(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=spec.cwd,
                env=dict(spec.env),
                start_new_session=True,
            )
        self.identity = processes.identify(self._process.pid, spec.argv)
        self._on_change()
        if await self._becomes_ready(self._process):
            self._become(PartState.READY)
            if not self._first_ready.done():
                self._first_ready.set_result(None)
            await self._process.wait()
            return f"it ended with {self._process.returncode}"
        reason = processes.last_line(spec.log)
        await self._end_process()
        return f"{reason} (see {spec.log})"

    async def _becomes_ready(self, process: asyncio.subprocess.Process) -> bool:
        """False when the process ended first, or hung for `ready_timeout_s`."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.part.ready_timeout_s
        while process.returncode is None and clock() < deadline:
            if await asyncio.to_thread(self.part.is_ready):
                return process.returncode is None
            await asyncio.sleep(PROBE_INTERVAL_S)
        return False

    async def _end_process(self) -> None:
        process, spec = self._process, self.spec
        if process is None or spec is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(spec.stop_signal)
            try:
                await asyncio.wait_for(process.wait(), spec.stop_timeout_s)
            except TimeoutError:
                processes.kill_group(process.pid)
                await process.wait()
        processes.kill_group(process.pid)  # what it started and did not take along

    def _give_up(self, reason: str) -> None:
        self._become(PartState.STOPPED)
        if not self._first_ready.done():
            self._first_ready.set_exception(StartError(reason))

    def _become(self, state: PartState) -> None:
        if state is not self.state:
            self.state, self.since = state, utc_now()
        self._on_change()
