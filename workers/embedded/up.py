"""`quarterdeck up`: the whole stack in the foreground until Ctrl-C, SIGTERM or the terminal is closed (unless under `nohup`)."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine

from models.base.open_files import allow_open_files
from models.base.signals import restore_signals
from models.settings import Settings
from models.settings.derived import EMBEDDED_DATABASE, public_url, temporal_ui_url
from workers.admin_file import NOT_SET
from workers.embedded import processes
from workers.embedded.account import known_account
from workers.embedded.errors import NotReady, StartError
from workers.embedded.home import ensure_key, locked, open_home
from workers.embedded.housekeeping import Housekeeping
from workers.embedded.intact import refuse_half_a_home
from workers.embedded.leftovers import end_leftovers
from workers.embedded.processes import ProcessSpec
from workers.embedded.row_parts import RowParts
from workers.embedded.run_record import RunRecord
from workers.embedded.service_manager import READY, STOPPING, ServiceManager
from workers.embedded.setup_programs import set_up
from workers.embedded.slow_start import told_when_slow
from workers.embedded.stack import Programs, Stack
from workers.embedded.supervisor import Part, SupervisedPart
from workers.embedded.ui_door import UiDoor
from workers.embedded.voice import STANDARD_OUTPUT, Voice, open_standard_streams

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_LAST = ("temporal", "postgres")
"""In this order, after all others, which end together: whoever writes ends before what it writes to. Each takes at most its
`stop_timeout_s`.
"""

LONGEST_WORDS = 300
STOPPED, NOT_IN_TIME, CANNOT_START = 0, 1, 2
PRIVATE_FILES = 0o077
"""Of the logs and databases too: for root the home lets others pass through, on the way to PostgreSQL's folder."""


def up(settings: Settings, programs: Programs | None = None) -> int:
    """Runs until stopped. The exit status: 0 after a stop, 2 with one line on standard error when it cannot start, 1 when a part
    does not become ready, with the part's last lines.
    """
    os.umask(PRIVATE_FILES)
    restore_signals()
    allow_open_files()
    open_standard_streams()
    manager, voice = ServiceManager.taken_from(os.environ), Voice()
    try:
        home = open_home(settings.home)
        with locked(home):
            refuse_half_a_home(settings, known_account())
            end_leftovers(home)
            ensure_key(home)
            stack = Stack(settings, home, programs or Programs())
            asyncio.run(_Run(stack, voice, manager).until_stopped())
    except StartError as error:
        voice.complain(str(error))
        return NOT_IN_TIME if isinstance(error, NotReady) else CANNOT_START
    except OSError as error:  # a full disk, for one
        voice.complain(": ".join(map(str, filter(None, (error.strerror or str(error), error.filename)))))
        return CANNOT_START
    finally:
        voice.close()
    return STOPPED


class _Run:
    """One run of a stack: its supervised parts, and the record of them that `status` and the next `up` read."""

    def __init__(self, stack: Stack, voice: Voice, manager: ServiceManager) -> None:
        self._stack, self._voice, self._manager = stack, voice, manager
        self._parts: dict[str, SupervisedPart] = {}
        self._door: UiDoor | None = None
        self._following: asyncio.Task[None] | None = None
        self._began = time.monotonic()
        self._stop_requested = asyncio.Event()
        own = processes.identify(os.getpid(), tuple(processes.command_line(os.getpid())))
        self._record = RunRecord(stack.home, own)
        self._housekeeping = Housekeeping(stack.home, stack.logs, self._record, voice.complain, self._disk_changed)

    async def until_stopped(self) -> None:
        self._note()
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # only a hang-up can be by now
                loop.add_signal_handler(number, self._on_signal, number)
        housekeeping = asyncio.create_task(self._housekeeping.run())
        starting = asyncio.create_task(self._start())
        stop_requested = asyncio.create_task(self._stop_requested.wait())
        try:
            await asyncio.wait({starting, stop_requested}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stop_requested
                self._voice.say("Stopping. A second Ctrl-C does not wait.")
        finally:
            self._tell_manager(STOPPING)
            stop_requested.cancel()
            await _cancelled(starting)
            if self._following is not None:
                await _cancelled(self._following)
            await self._stop()
            await _cancelled(housekeeping)
            self._record.remove()

    def _on_signal(self, number: signal.Signals) -> None:
        """Only a second Ctrl-C is impatience: a terminal that closes hangs up twice, `timeout` terminates twice."""
        if self._stop_requested.is_set() and number == signal.SIGINT:
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
        own = [self._stack.api, self._stack.worker]
        await _all([self._run_part(build) for build in (*own, *self._stack.while_set())])
        self._show_summary()
        self._tell_manager(READY, "STATUS=Ready")
        if parts := self._stack.while_rows():
            url, say = self._stack.rows_url, self._voice.complain
            follower = RowParts(parts, self._parts, url=url, note=self._note, complain=say)
            self._following = asyncio.create_task(follower.run())

    async def _database_ready(self) -> None:
        stack = self._stack
        if stack.embeds_postgres:
            async with self._told_when_slow("PostgreSQL's files", lambda: None):
                server, part = await asyncio.to_thread(stack.postgres)
            await self._run_part(lambda: part)
            await asyncio.to_thread(server.ensure_database)
        await self._set_up(stack.setup("migrate", stack.programs.migrate))
        options = ["--admin-file", str(stack.home.admin_file)]
        if os.isatty(STANDARD_OUTPUT):  # anything else keeps what it is given: a log, a journal, a file
            options.append("--show-credentials")
        announcement = await self._set_up(stack.setup("bootstrap", (*stack.programs.bootstrap, *options)))
        if announcement:  # at once: it is not shown again, whatever happens to the rest of this start
            self._voice.say(announcement)

    async def _run_part(self, build: Callable[[], Part]) -> None:
        part = SupervisedPart(build(), self._note)
        self._parts[part.part.name] = part
        async with self._told_when_slow(part.part.name, lambda: part.spec):
            await part.start()

    async def _set_up(self, spec: ProcessSpec) -> str:
        async with self._told_when_slow(spec.name, lambda: spec):
            return await set_up(spec)

    def _told_when_slow(
        self, name: str, started: Callable[[], ProcessSpec | None]
    ) -> contextlib.AbstractAsyncContextManager[None]:
        def last_words() -> str:
            spec = started()
            if spec is None:
                return "nothing of it runs yet"
            lines = processes.last_lines(spec.log, 1)
            return f"the last line of its log is {lines[0][:LONGEST_WORDS]!r}" if lines else "its log is empty"

        def say(text: str) -> None:
            self._voice.complain(text)
            self._tell_manager(f"STATUS={text}")

        return told_when_slow(name, say, last_words)

    async def _stop(self) -> None:
        await asyncio.to_thread(self._housekeeping.make_room_to_stop)
        for names in (self._parts.keys() - STOP_LAST, *({name} for name in STOP_LAST)):
            await asyncio.gather(*(self._parts[name].stop() for name in names if name in self._parts))
        if self._door is not None:
            await self._door.close()

    def _note(self) -> None:
        self._record.note(list(self._parts.values()))

    def _disk_changed(self, shortage: str | None) -> None:
        self._tell_manager("STATUS=Ready" if shortage is None else f"STATUS=No room on the disk: {shortage}")

    def _tell_manager(self, *assignments: str) -> None:
        try:
            self._manager.tell(*assignments)
        except OSError as error:
            self._voice.complain(f"the service manager cannot be told {assignments[0]}: {error.strerror or error}")

    def _show_summary(self) -> None:
        stack = self._stack
        self._voice.say(f"Quarterdeck is ready after {time.monotonic() - self._began:.1f} s. Ctrl-C stops it.")
        self._voice.say(f"  API          {public_url(stack.settings)}  (documentation: /swagger-ui/)")
        self._voice.say(f"  Temporal UI  {temporal_ui_url(stack.settings) or NOT_SET}")
        self._voice.say(f"  Databases    {self._databases()}, simulated cloud {self._parts['simcloud'].part.url}")
        self._voice.say(f"  Home         {stack.home.path}  (logs/, admin.json)")

    def _databases(self) -> str:
        if "postgres" not in self._parts:
            return "PostgreSQL of QUARTERDECK_DATABASE_URL"
        return f"PostgreSQL 127.0.0.1:{self._parts['postgres'].part.port}/{EMBEDDED_DATABASE}"


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
