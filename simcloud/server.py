"""The cloud as one process: it listens, lets time pass, and stops when it is told to."""

import asyncio
import logging
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from simcloud.admin import Admin
from simcloud.api import CloudApi
from simcloud.calls import Calls
from simcloud.clock import Clock
from simcloud.cloud import Cloud, Pace
from simcloud.database import Database
from simcloud.faults import Faults
from simcloud.fleet import Fleet
from simcloud.http import BODY_LIMIT_BYTES, errors_as_json, json_response, token_required
from simcloud.inference import PATHS as INFERENCE_PATHS
from simcloud.inference import Inference
from simcloud.inference_ledger import InferenceLedger
from simcloud.malformed import MalformedRequests

log = logging.getLogger(__name__)

OPEN_PATHS = INFERENCE_PATHS | {"/health"}
STOP_TIMEOUT_S = 0.5
BACKLOG = 1_024


@dataclass(frozen=True)
class Configuration:
    host: str
    port: int  # 0: a free one
    advertised_host: str
    database_path: Path
    token: str
    seed: int
    tick_s: float
    phase_s: float
    clock_skew_s: float
    pace: Pace


async def run(configuration: Configuration) -> None:
    """Serve until SIGTERM or SIGINT. Raises DatabaseInUse and OSError before anything is announced."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    database = Database(configuration.database_path)
    try:
        with _listen(configuration.host, configuration.port) as listener:
            await _serve(configuration, database, listener, stop)
    finally:
        database.close()


async def _serve(
    configuration: Configuration, database: Database, listener: socket.socket, stop: asyncio.Event
) -> None:
    port = listener.getsockname()[1]
    clock = Clock(configuration.clock_skew_s)
    fleet = Fleet(database, seed=configuration.seed, phase_s=configuration.phase_s)
    fleet.address_port = port
    cloud = Cloud(database, clock, configuration.pace, fleet)
    faults = Faults(database, configuration.seed)
    inference = InferenceLedger(database, clock)
    calls = Calls()
    app = web.Application(
        middlewares=[errors_as_json, token_required(configuration.token, open_paths=OPEN_PATHS)],
        client_max_size=BODY_LIMIT_BYTES,
    )
    app.router.add_get("/health", _health)
    app.router.add_routes(CloudApi(cloud, faults, clock, (configuration.advertised_host, port), calls=calls).routes())
    admin = Admin(
        database=database, cloud=cloud, faults=faults, fleet=fleet, inference=inference, clock=clock, calls=calls
    )
    app.router.add_routes(admin.routes())
    app.router.add_routes(Inference(fleet, inference).routes())
    logging.getLogger("aiohttp.server").addFilter(MalformedRequests())
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=STOP_TIMEOUT_S)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=BACKLOG).start()
    cloud.resume()
    print(f"simulated cloud listening on http://{configuration.host}:{port}", flush=True)  # noqa: T201 - the ready line
    try:
        await _pass_time(cloud, inference, configuration.tick_s, stop)
    finally:
        await fleet.close()
        await runner.cleanup()
        inference.flush()


async def _pass_time(cloud: Cloud, inference: InferenceLedger, tick_s: float, stop: asyncio.Event) -> None:
    while not stop.is_set():
        cloud.advance()
        inference.flush()
        try:
            await asyncio.wait_for(stop.wait(), tick_s)
        except TimeoutError:
            continue


async def _health(_request: web.Request) -> web.Response:
    return json_response({"status": "ok"})


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), backlog=BACKLOG)
    listener.setblocking(False)  # noqa: FBT003 - its only parameter
    return listener
