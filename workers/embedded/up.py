"""`quarterdeck up`: the whole stack in the foreground until Ctrl-C, SIGTERM or the terminal is closed (unless under `nohup`)."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping

from models.base.clock import rfc3339
from models.base.open_files import allow_open_files
from models.base.signals import restore_signals
from models.settings import Settings
from models.settings.derived import EMBEDDED_DATABASE, public_url, temporal_ui_url
from workers.admin_file import NOT_SET
from workers.embedded import processes
from workers.embedded.errors import StartError
from workers.embedded.home import ensure_key, locked, open_home, write_record
from workers.embedded.leftovers import end_leftovers
from workers.embedded.processes import ProcessSpec
from workers.embedded.stack import Programs, Stack
from workers.embedded.supervisor import Part, SupervisedPart
from workers.embedded.ui_door import UiDoor

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_ORDER = (("api", "worker", "simcloud"), ("temporal",), ("postgres",))
"""Whoever writes ends before what it writes to. Each group ends together, within the longest `stop_timeout_s` in it."""

SETUP_TIMEOUT_S = 120.0
LOOK_AT_LOGS_S = 1.0
CANNOT_START = 2
PRIVATE_FILES = 0o077
"""Of the logs and databases too: for root the home lets others pass through, on the way to PostgreSQL's folder."""


def up(settings: Settings, programs: Programs | None = None, say: Callable[[str], None] = print) -> int:
    """Runs until stopped. The exit status: 0 after a stop, 2 with one line on standard error when it cannot start."""
    os.umask(PRIVATE_FILES)
    restore_signals()
    allow_open_files()
    try:
        home = open_home(settings.home)
        with locked(home):
            end_leftovers(home)
            ensure_key(home)
            stack = Stack(settings, home, programs or Programs())
            asyncio.run(_Run(stack, say).until_stopped())
    except StartError as error:
        sys.stderr.write(f"quarterdeck: {error}\n")
        return CANNOT_START
    return 0


class _Run:
    """One run of a stack: its supervised parts, and the record of them that `status` and the next `up` read."""

    def __init__(self, stack: Stack, say: Callable[[str], None]) -> None:
        self._stack, self._say = stack, say
        self._parts: dict[str, SupervisedPart] = {}
        self._door: UiDoor | None = None
        self._began = time.monotonic()
        self._stop_requested = asyncio.Event()
        self._own_identity = processes.identify(os.getpid(), tuple(processes.command_line(os.getpid())))

    async def until_stopped(self) -> None:
        self._write_record()
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # only a hang-up can be by now
                loop.add_signal_handler(number, self._on_signal)
        keeping_logs_short = asyncio.create_task(self._keep_logs_short())
        starting = asyncio.create_task(self._start())
        stop_requested = asyncio.create_task(self._stop_requested.wait())
        try:
            await asyncio.wait({starting, stop_requested}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stop_requested
                self._say("Stopping. A second Ctrl-C does not wait.")
        finally:
            stop_requested.cancel()
            await _cancelled(starting)
            await self._stop()
            await _cancelled(keeping_logs_short)

    async def _keep_logs_short(self) -> None:
        told: set[str] = set()
        while True:
            await asyncio.sleep(LOOK_AT_LOGS_S)
            try:
                await asyncio.to_thread(self._stack.logs.shorten)
            except OSError as error:  # the disk is full, for one: it may not be for ever
                reason = error.strerror or str(error)
                if reason not in told:
                    told.add(reason)
                    sys.stderr.write(f"quarterdeck: the logs cannot be kept short: {reason}\n")
            else:
                told.clear()  # said again where it comes again, once

    def _on_signal(self) -> None:
        if self._stop_requested.is_set():
            for part in self._parts.values():
                part.kill()
        self._stop_requested.set()

    async def _start(self) -> None:
        independent = [self._database_ready(), self._run_part(self._stack.simcloud)]
        if self._stack.embeds_temporal:
            self._door = self._stack.ui_door()
            await self._door.open()
            independent.append(self._run_part(self._stack.temporal))
        await _all(independent)
        await _all([self._run_part(self._stack.api), self._run_part(self._stack.worker)])
        self._show_summary()

    async def _database_ready(self) -> None:
        stack = self._stack
        if stack.embeds_postgres:
            server, part = await asyncio.to_thread(stack.postgres)
            await self._run_part(lambda: part)
            await asyncio.to_thread(server.ensure_database)
        await self._set_up(stack.setup("migrate", stack.programs.migrate))
        options = ["--admin-file", str(stack.home.admin_file)]
        if sys.stdout.isatty():  # anything else keeps what it is given: a log, a journal, a file
            options.append("--show-credentials")
        announcement = await self._set_up(stack.setup("bootstrap", (*stack.programs.bootstrap, *options)))
        if announcement:  # at once: it is not shown again, whatever happens to the rest of this start
            self._say(announcement)

    async def _run_part(self, build: Callable[[], Part]) -> None:
        part = SupervisedPart(build(), self._write_record)
        self._parts[part.part.name] = part
        await part.start()

    async def _set_up(self, spec: ProcessSpec) -> str:
        """Runs the program to its end. Returns what it printed, which is for the terminal and not for a log.

        Raises StartError when it fails.
        """
        with spec.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *spec.owned_argv(), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
                cwd=spec.cwd, env=dict(spec.env), start_new_session=True,
            )  # fmt: skip
        try:
            printed, _ = await asyncio.wait_for(process.communicate(), SETUP_TIMEOUT_S)
        except TimeoutError:
            raise StartError(f"{spec.name} did not finish within {SETUP_TIMEOUT_S:.0f} s (see {spec.log})") from None
        finally:
            if process.returncode is None:
                processes.kill_group(process.pid)
                await process.wait()
        if process.returncode != 0:
            raise StartError(f"{spec.name} failed: {processes.last_line(spec.log)} (see {spec.log})")
        return printed.decode(errors="replace")

    async def _stop(self) -> None:
        for names in STOP_ORDER:
            await asyncio.gather(*(self._parts[name].stop() for name in names if name in self._parts))
        if self._door is not None:
            await self._door.close()
        self._stack.home.run_record.unlink(missing_ok=True)

    def _write_record(self) -> None:
        identity = self._own_identity
        supervisor = None if identity is None else {**vars(identity)}
        parts = [_record_of(part) for part in self._parts.values()]
        write_record(self._stack.home, {"supervisor": supervisor, "parts": parts})

    def _show_summary(self) -> None:
        stack = self._stack
        self._say(f"Quarterdeck is ready after {time.monotonic() - self._began:.1f} s. Ctrl-C stops it.")
        self._say(f"  API          {public_url(stack.settings)}  (documentation: /swagger-ui/)")
        self._say(f"  Temporal UI  {temporal_ui_url(stack.settings) or NOT_SET}")
        self._say(f"  Databases    {self._databases()}, simulated cloud {self._parts['simcloud'].part.url}")
        self._say(f"  Home         {stack.home.path}  (logs/, admin.json)")

    def _databases(self) -> str:
        if "postgres" not in self._parts:
            return "PostgreSQL of QUARTERDECK_DATABASE_URL"
        return f"PostgreSQL 127.0.0.1:{self._parts['postgres'].part.port}/{EMBEDDED_DATABASE}"


def _record_of(part: SupervisedPart) -> Mapping[str, object]:
    identity = part.identity
    return {
        "name": part.part.name,
        "state": part.state.value,
        "since": rfc3339(part.since),
        "restarts": part.restarts,
        "port": part.part.port,
        "url": part.part.url,
        "stop_signal": None if part.spec is None else int(part.spec.stop_signal),
        "process": None if identity is None else {**vars(identity)},
    }


async def _all(coroutines: list[Coroutine[object, object, None]]) -> None:
    """All of them; the first failure cancels the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in coroutines:
                group.create_task(coroutine)
    except ExceptionGroup as failures:
        expected = next((failure for failure in failures.exceptions if isinstance(failure, StartError)), None)
        if expected is None:
            raise
        raise expected from None


async def _cancelled(task: asyncio.Task[None]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
