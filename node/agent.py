"""The agent's life: listen, register, serve, report; until it is told to stop or can not go on."""

import asyncio
import logging
import signal
import socket
from pathlib import Path

from aiohttp import web

from node.boot import Boot
from node.control_plane import Refused
from node.front import Front
from node.malformed import MalformedRequests
from node.model_server import ModelError, check_model_file
from node.phases import Phase, Phases
from node.reporting import RegistrationRefused, Reporter
from node.serving import keep_serving
from node.slots import SlotGate
from node.status import Status

HOST = "127.0.0.1"
FAILURE_REPORT_S = 4.0
STATUS_INTERVAL_S = 2.0
CLOSE_S = 1.0
"""Requests in flight get this long when the agent stops; SIGTERM to exit has to stay under 5 s."""

log = logging.getLogger(__name__)


class Agent:
    def __init__(self, home: Path, boot: Boot, status: Status) -> None:
        self._home = home
        self._boot = boot
        self._status = status
        self._phases = Phases()
        self._gate = SlotGate(boot.slots)
        self._front = Front(boot, self._gate, created=_written_at(boot.model_file))
        self._key_known = asyncio.Event()

    async def run(self) -> int:
        """The exit code: 0 when told to stop (by a signal or by the control plane), 1 when this machine can not serve."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        logging.getLogger("aiohttp.server").addFilter(MalformedRequests())
        runner = web.AppRunner(
            self._front.application(), access_log=None, handler_cancellation=True, shutdown_timeout=CLOSE_S
        )
        await runner.setup()
        try:
            port = await self._listen(runner)
            reporter = Reporter(
                self._home,
                self._boot,
                boot_id=self._status.boot_id,
                port=port,
                front=self._front,
                gate=self._gate,
                phases=self._phases,
            )
            return await self._work(reporter, stop)
        finally:
            await runner.cleanup()

    async def _work(self, reporter: Reporter, stop: asyncio.Event) -> int:
        tasks = [
            asyncio.create_task(reporter.run(self._use_key)),
            asyncio.create_task(self._serve()),
            asyncio.create_task(self._keep_status()),
            asyncio.create_task(stop.wait()),
        ]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        failure = next((error for task in done if (error := task.exception()) is not None), None)
        match failure:
            case None:
                log.info("told to stop")
                self._status.enter("stopped")
                return 0
            case Refused():
                log.info("let go: %s", failure)
                self._status.enter("stopped", error=str(failure))
                return 0
            case RegistrationRefused():
                return self._fail(str(failure))
            case ModelError():
                code = self._fail(str(failure))
                await reporter.report_failure(str(failure), within_s=FAILURE_REPORT_S)
                return code
            case _:
                raise failure

    def _fail(self, reason: str) -> int:
        log.error("cannot serve: %s", reason)
        self._status.enter("failed", error=reason)
        return 1

    async def _serve(self) -> None:
        await asyncio.to_thread(
            check_model_file, self._boot.model_file
        )  # a wrong order shows without a control plane, too
        await self._key_known.wait()
        await keep_serving(self._boot, self._front, self._enter)

    async def _keep_status(self) -> None:
        """Never returns. What a full disk kept from the status file gets there."""
        while True:
            await asyncio.sleep(STATUS_INTERVAL_S)
            self._status.catch_up()

    def _use_key(self, key: str) -> None:
        self._front.serving_key = key
        self._key_known.set()

    def _enter(self, phase: Phase) -> None:
        self._phases.enter(phase)
        self._status.enter("serving" if phase is Phase.SERVING else "starting")

    async def _listen(self, runner: web.AppRunner) -> int:
        listener = _listener(self._status.previous_port)
        await web.SockSite(runner, listener).start()
        port: int = listener.getsockname()[1]
        self._status.listening(HOST, port)
        log.info("listening on %s:%d", HOST, port)
        return port


def _written_at(path: Path) -> int:
    """Seconds since the epoch: the same at every start with this model. 0 for a file that is not there."""
    try:
        return int(path.stat().st_mtime)
    except OSError:
        return 0


def _listener(preferred_port: int | None) -> socket.socket:
    """A socket on the port of the last start, where it is still free, so that the machine keeps its address; else any."""
    for port in (preferred_port, 0):
        if port is None:
            continue
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            listener.close()
        else:
            return listener
    raise OSError(f"no free port on {HOST}")
