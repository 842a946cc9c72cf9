"""Keeps the parts of the stack running: started, probed, restarted with back-off when they die, stopped in order."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from models.base.clock import utc_now
from workers.embedded import processes
from workers.embedded.errors import NotReady, StartError
from workers.embedded.processes import ProcessIdentity, ProcessSpec

PROBE_INTERVAL_S = 0.05
FIRST_RESTART_AFTER_S, LONGEST_RESTART_AFTER_S = 0.25, 10.0
SETTLED_AFTER_S = 30.0
"""A part that was ready for this long is restarted at once the next time."""

FAILURES_BEFORE_GIVING_UP = 3
"""So many ends before it was ever ready mean that it cannot start here: `up` says so instead of trying for ever."""

GIVE_UP_AFTER_S = 120.0
"""A part that is not ready for the first time by then never will be. Until then it is given the time: a busy machine is slow."""

READY_TIMEOUT_S, LONGEST_READY_TIMEOUT_S = 30.0, 3600.0
"""One that has been ready before and now hangs is killed after the first of them, then after twice the time, up to the second:
PostgreSQL that reads its log after a crash is no hanging part, and would begin anew each time.
"""


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
    port: int | None = None
    url: str | None = None


class SupervisedPart:
    """A part with its process over all its restarts.

    `on_change` is called after every change of what `status` shows, and must not fail.
    """

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
        self._ready_at_s: float | None = None
        self._patience_s = READY_TIMEOUT_S

    async def start(self) -> None:
        """Returns when the part is ready for the first time; from then on it is kept running, for ever.

        Raises StartError when it ends again and again, NotReady when it is not ready after `GIVE_UP_AFTER_S`.
        """
        self._keeper = asyncio.create_task(self._keep(), name=f"keep-{self.part.name}")
        try:
            async with asyncio.timeout(GIVE_UP_AFTER_S):
                await asyncio.shield(self._first_ready)
        except TimeoutError:
            raise not_ready(self.part.name, GIVE_UP_AFTER_S, self.spec) from None

    async def stop(self) -> None:
        """The process and its group are gone when this returns, at the latest `stop_timeout_s` later."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        await self._end_process()
        self._become(PartState.STOPPED)

    def kill(self) -> None:
        """For the impatient: no time to finish."""
        if self._process is not None and self._process.returncode is None:
            processes.kill_group(self._process.pid)

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                reason = await self._run_once()
            except StartError as error:
                if not self._first_ready.done():
                    return self._give_up(str(error))
                reason = str(error)
            except Exception as error:  # noqa: BLE001  (a full disk, a program that is gone: nobody starts this again)
                reason = str(error) or type(error).__name__
            await self._end_process()
            failures = 1 if self._was_settled() else failures + 1
            if not self._first_ready.done() and failures >= FAILURES_BEFORE_GIVING_UP:
                return self._give_up(f"{self.part.name} does not start: {reason}")
            self.restarts += 1
            self._become(PartState.RESTARTING)
            await asyncio.sleep(min(FIRST_RESTART_AFTER_S * 2 ** min(failures - 1, 16), LONGEST_RESTART_AFTER_S))

    async def _run_once(self) -> str:
        """One life of the process, to its end or until it has hung for too long. Returns why it is over."""
        self._ready_at_s = None
        self._become(PartState.STARTING)
        spec = self.spec = await asyncio.to_thread(self.part.prepare)
        with spec.log.open("ab") as log:
            process = self._process = await asyncio.create_subprocess_exec(
                *spec.owned_argv(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=spec.cwd,
                env=dict(spec.env),
                start_new_session=True,
            )
        self.identity = processes.identify(process.pid, spec.argv)
        self._on_change()
        if not await self._becomes_ready(process):
            return f"{processes.last_line(spec.log)} (see {spec.log})"
        self._ready_at_s, self._patience_s = asyncio.get_running_loop().time(), READY_TIMEOUT_S
        self._become(PartState.READY)
        if not self._first_ready.done():
            self._first_ready.set_result(None)
        return f"it ended with {await process.wait()}"

    async def _becomes_ready(self, process: asyncio.subprocess.Process) -> bool:
        """False when the process ended first, or hung for too long: before it was ever ready that is for `start` to say."""
        ended = asyncio.create_task(process.wait())
        try:
            async with asyncio.timeout(self._patience_s if self._first_ready.done() else None):
                while not ended.done():
                    probe = asyncio.create_task(asyncio.to_thread(self.part.is_ready))
                    await asyncio.wait({probe, ended}, return_when=asyncio.FIRST_COMPLETED)
                    if probe.done() and probe.result():
                        return not ended.done()
                    await asyncio.sleep(PROBE_INTERVAL_S)
        except TimeoutError:
            self._patience_s = min(2 * self._patience_s, LONGEST_READY_TIMEOUT_S)
        finally:
            ended.cancel()
        return False

    def _was_settled(self) -> bool:
        """Only what was ready counts: a life that hung is no reason to begin anew at once."""
        return self._ready_at_s is not None and asyncio.get_running_loop().time() - self._ready_at_s > SETTLED_AFTER_S

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
        self._process = None  # its number may be anybody's from now on

    def _give_up(self, reason: str) -> None:
        self._become(PartState.STOPPED)
        if not self._first_ready.done():
            self._first_ready.set_exception(StartError(reason))

    def _become(self, state: PartState) -> None:
        if state is not self.state:
            self.state, self.since = state, utc_now()
        self._on_change()


def not_ready(name: str, timeout_s: float, spec: ProcessSpec | None) -> NotReady:
    """With the last words of the program, where it has been started."""
    if spec is None:
        return NotReady(f"{name} is not ready after {timeout_s:.0f} s; it could not even be started")
    last = "".join(f"\n  {line}" for line in processes.last_lines(spec.log) or ())
    return NotReady(f"{name} is not ready after {timeout_s:.0f} s; the end of {spec.log}:{last or ' nothing'}")
