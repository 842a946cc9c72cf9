"""The end of a test's server leaves no connection open, whenever it was asked for."""

import asyncio
import socket

import pytest
from aiohttp import web

from tests.patience import GIVE_UP_S
from tests.web_server import LAST_TICKS, end


@pytest.mark.parametrize("turns", range(LAST_TICKS))
async def test_a_caller_who_comes_with_the_end_is_sent_away(turns: int) -> None:
    """While another is answered; `turns` of the loop after the caller was let in by the kernel."""
    asked = asyncio.Event()

    async def answer_never(_request: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/", answer_never)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    with (
        socket.create_connection(runner.addresses[0], GIVE_UP_S) as waiting,
        socket.create_connection(runner.addresses[0], GIVE_UP_S) as late,
    ):
        waiting.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await asked.wait()
        with socket.create_connection(runner.addresses[0], GIVE_UP_S) as latest:
            for _ in range(turns):
                await asyncio.sleep(0)
            await end(runner)
            for caller in (late, latest):
                assert _was_sent_away(caller)


def _was_sent_away(caller: socket.socket) -> bool:
    try:
        return caller.recv(1) == b""
    except ConnectionResetError:
        return True
