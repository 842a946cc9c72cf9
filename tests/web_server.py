"""The end of an HTTP server in a test."""

import asyncio
from typing import Final

from aiohttp.web import AppRunner

LAST_TICKS: Final = 10


async def end(runner: AppRunner) -> None:
    """First nothing is accepted any more, then what was accepted becomes a connection, then all are ended.

    asyncio makes a connection a few turns of the loop after it was accepted, and of a server that was closed meanwhile it drops
    it half made and open (an assertion in CPython 3.11, `Server._attach`): a later test would be blamed for it.
    """
    loop = asyncio.get_running_loop()
    for site in runner.sites:
        if isinstance(site._server, asyncio.Server):
            for listening in site._server.sockets:
                loop.remove_reader(listening.fileno())
    await _last_ticks()
    await runner.cleanup()
    await _last_ticks()


async def _last_ticks() -> None:
    for _ in range(LAST_TICKS):
        await asyncio.sleep(0)
