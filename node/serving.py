"""Keeps the model served: loads it, warms it up, and starts it again when its process dies."""

import asyncio
import logging
import time
from collections.abc import Callable

from node.boot import Boot
from node.front import Front
from node.generating import Upstream
from node.model_server import ModelError, ModelServer, ModelServerDied, check_model_file
from node.phases import Phase

DEATHS_IN_A_ROW = 3
STEADY_S = 60.0
"""A model server that lived this long starts counting its deaths anew."""
RESTART_DELAY_S = 1.0

log = logging.getLogger(__name__)


async def keep_serving(boot: Boot, front: Front, enter: Callable[[Phase], None]) -> None:
    """Never returns. Raises ModelError when the model can not be served on this machine."""
    deaths = 0
    while True:
        began = time.monotonic()
        try:
            await _serve_once(boot, front, enter)
        except ModelServerDied as error:
            deaths = 1 if time.monotonic() - began > STEADY_S else deaths + 1
            log.warning("%s (%d in a row)", error, deaths)
        if deaths >= DEATHS_IN_A_ROW:
            raise ModelError(f"the model server died {deaths} times in a row")
        await asyncio.sleep(RESTART_DELAY_S * deaths)


async def _serve_once(boot: Boot, front: Front, enter: Callable[[Phase], None]) -> None:
    enter(Phase.LOADING_MODEL)
    await asyncio.to_thread(check_model_file, boot.model_file)
    server = ModelServer(boot)
    began = time.monotonic()
    try:
        try:
            await server.start()
        except ModelError:
            for line in server.complaints:
                log.warning("llama.cpp: %s", line)
            raise
        enter(Phase.WARMING_UP)
        await server.warm_up()
        front.upstream = Upstream(server.url, server.api_key, await server.capabilities())
        log.info("model %s loaded in %.1f s", boot.model_code, time.monotonic() - began)
        enter(Phase.SERVING)
        code = await server.wait()
        raise ModelServerDied(f"the model server ended with {code}")
    finally:
        front.upstream = None
        await server.stop()
