"""The control plane's half of the worker protocol, with a record of what it heard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

BOOTSTRAP_TOKEN = "bootstrap-7d1f6d0e2b"
WORKER_TOKEN = "wk_90c4ab13f5"
SERVING_KEY = "serving-5b2e8c77aa"
INTERVAL_S = 0.2


@dataclass
class Heard:
    token: str
    body: dict[str, Any]


@dataclass
class ControlPlane:
    """`register_status` and `heartbeat_status` other than 200 are answered as they are, with an empty object."""

    url: str = ""
    register_status: int = 200
    heartbeat_status: int = 200
    registrations: list[Heard] = field(default_factory=list)
    heartbeats: list[Heard] = field(default_factory=list)
    refused: int = 0

    async def register(self, request: web.Request) -> web.Response:
        self.registrations.append(await _heard(request))
        return self._answer(self.register_status, serving_key=SERVING_KEY, bootstrap_token=WORKER_TOKEN)

    async def heartbeat(self, request: web.Request) -> web.Response:
        heard = await _heard(request)
        if self.heartbeat_status == 200:
            self.heartbeats.append(heard)
        return self._answer(self.heartbeat_status)

    def phases(self) -> list[str]:
        """As they were reported, repetitions left out."""
        told = [beat.body["phase"] for beat in self.heartbeats]
        return [phase for before, phase in zip([None, *told], told, strict=False) if phase != before]

    def serves(self) -> bool:
        return bool(self.heartbeats) and self.heartbeats[-1].body["status"] == "ready"

    def _answer(self, status: int, **more: str) -> web.Response:
        if status != 200:
            self.refused += 1
            return web.json_response({}, status=status)
        return web.json_response({"status": "ok", "heartbeat_interval_s": INTERVAL_S} | more)


async def _heard(request: web.Request) -> Heard:
    return Heard(request.headers["Authorization"].removeprefix("Bearer "), await request.json())


@asynccontextmanager
async def running_control_plane(port: int = 0) -> AsyncIterator[ControlPlane]:
    plane = ControlPlane()
    app = web.Application()
    app.router.add_post("/internal/worker/register", plane.register)
    app.router.add_post("/internal/worker/heartbeat", plane.heartbeat)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        plane.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield plane
    finally:
        await runner.cleanup()
