"""The end of an HTTP server in a test."""

import asyncio
from typing import Final

from aiohttp.web import AppRunner

LAST_TICKS: Final = 10


async def end(runner: AppRunner) -> None:
    """Also of what it accepted in the moment of its end, which is made a connection only a few turns of the loop later: left open,
    the next test would be blamed for it.
    """
    server = runner.server
    await runner.cleanup()
    for _ in range(LAST_TICKS):
        await asyncio.sleep(0)
    if server is not None:
        await server.shutdown(0.1)
