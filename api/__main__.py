"""`python -m api`: one API process on uvicorn and uvloop."""

import gc
import logging
import os
import sys
from collections.abc import Sequence
from socket import socket

import uvicorn

from activities.runtime.line_limit import LineLimit
from activities.runtime.logs import configure_logging
from api.app import create_app
from api.composition import build_state
from api.http.addresses import doubt_about_addresses, trusted_hosts
from api.http.connections import Connections
from api.http.cut_short import GRACE_S
from api.http.protocol import protocol_of
from api.state import AppState
from models.base.foreign_variables import leave_out
from models.base.leaving import leave
from models.base.open_files import allow_open_files
from models.base.signals import restore_signals
from models.settings import Settings, SettingsError, load_settings
from models.settings.derived import check_home

logger = logging.getLogger(__name__)

CANNOT_START = 2
KEEP_ALIVE_S = 75
"""Longer than clients and load balancers keep a connection they do not use (httpx 5 s, aiohttp 15 s, AWS's 60 s): whoever
closes first decides, and a request sent while the server closes is lost without an answer."""
PROVOKED_LOGGERS = ("uvicorn.error", "api.http.protocol", "api.inference.upstream")
"""What they say is mostly about what callers sent that is no HTTP: anybody can make them speak."""
TICKS_TO_TELL = 100

YOUNG_OBJECTS = 10_000
"""New objects after which the collector looks for garbage cycles (Python's default is 700)."""


class ApiServer(uvicorn.Server):
    """Ends its streams first when it stops: uvicorn waits for open connections, and a stream has no end of its own."""

    def __init__(self, config: uvicorn.Config, state: AppState) -> None:
        super().__init__(config)
        self._state = state
        self._line_limits = [LineLimit(logging.getLogger(name)) for name in PROVOKED_LOGGERS]

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        if counter % TICKS_TO_TELL == 0:
            for limit in self._line_limits:
                limit.tell()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Then leave what was imported and built out of every garbage collection: it stays for good, and walking its 180,000
        objects again and again stops all requests for some 100 ms and halves the throughput (benchmarks/proxy.py).
        """
        for limit in self._line_limits:
            limit.begin()
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._state.event_feed.stop_followers()
        await super().shutdown(sockets)


def server(settings: Settings) -> ApiServer:
    """A server that is not running yet. Raises SettingsError."""
    state = build_state(settings)
    connections = Connections.allowed_by(settings, files=allow_open_files())
    config = uvicorn.Config(
        create_app(state),
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http=protocol_of(connections),
        ws="none",  # `api.http.protocol` brings its own, with the first socket
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=trusted_hosts(settings.trusted_proxies) or None,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    return ApiServer(config, state)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal. 2 with one line if the configuration cannot be used."""
    if arguments:
        sys.stderr.write(f"quarterdeck: the API takes no arguments, got {' '.join(arguments)}\n")
        return CANNOT_START
    restore_signals()
    leave_out(os.environ)
    try:
        settings = load_settings()
        check_home(settings)
        configure_logging(settings.log_level)
        running = server(settings)
    except SettingsError as error:
        sys.stderr.write(f"quarterdeck: {error}\n")
        return CANNOT_START
    if doubt := doubt_about_addresses(settings):
        logger.warning(doubt)
    running.run()
    return 0 if running.started else 1


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
