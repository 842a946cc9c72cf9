"""The control plane's half of the worker protocol, as small as it can be, with a record of all it heard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Heard:
    token: str
    body: dict[str, Any]


@dataclass
class ControlPlane:
    """`answer_with` makes every answer that status; `revoked` are instances whose worker tokens are no longer taken.

    `attempts` are all calls of register, `registered` those that succeeded.
    """

    url: str = ""
    interval_s: float = 0.3
    answer_with: int | None = None
    revoked: set[str] = field(default_factory=set)
    attempts: list[Heard] = field(default_factory=list)
    registered: list[Heard] = field(default_factory=list)
    beats: list[Heard] = field(default_factory=list)
    requests: int = 0
    nonces: dict[str, str] = field(default_factory=dict)

    def serving_key(self, instance_id: str) -> str:
        return f"serving-{instance_id}"

    def worker_token(self, instance_id: str) -> str:
        return f"wk_{instance_id}"

    def beats_of(self, instance_id: str) -> list[Heard]:
        return [beat for beat in self.beats if beat.body["instance_id"] == instance_id]

    def registrations_of(self, instance_id: str) -> list[Heard]:
        return [each for each in self.registered if each.body["instance_id"] == instance_id]

    async def register(self, request: web.Request) -> web.Response:
        heard = await self._hear(request)
        self.attempts.append(heard)
        instance = str(heard.body["instance_id"])
        if self.answer_with is not None:
            return web.json_response({}, status=self.answer_with)
        as_worker = heard.token == self.worker_token(instance) and instance not in self.revoked
        if not as_worker and self.nonces.setdefault(heard.token, heard.body["nonce"]) != heard.body["nonce"]:
            return web.json_response({}, status=401)
        if not as_worker and not heard.token.startswith(f"bootstrap-{instance}-"):
            return web.json_response({}, status=401)
        self.revoked.discard(instance)
        self.registered.append(heard)
        return web.json_response(
            {
                "status": "ok",
                "bootstrap_token": self.worker_token(instance),
                "bootstrap_token_prefix": "wk_",
                "serving_key": self.serving_key(instance),
                "heartbeat_interval_s": self.interval_s,
            }
        )

    async def heartbeat(self, request: web.Request) -> web.Response:
        heard = await self._hear(request)
        instance = str(heard.body["instance_id"])
        if self.answer_with is not None:
            return web.json_response({}, status=self.answer_with)
        if heard.token != self.worker_token(instance) or instance in self.revoked:
            return web.json_response({}, status=401)
        self.beats.append(heard)
        return web.json_response({"status": "ok"})

    async def _hear(self, request: web.Request) -> Heard:
        self.requests += 1
        token = request.headers["Authorization"].removeprefix("Bearer ")
        return Heard(token, await request.json())


@asynccontextmanager
async def running_control_plane(port: int = 0) -> AsyncIterator[ControlPlane]:
    plane = ControlPlane()
    app = web.Application()
    app.router.add_post("/internal/worker/register", plane.register)
    app.router.add_post("/internal/worker/heartbeat", plane.heartbeat)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        host, port = runner.addresses[0][:2]
        plane.url = f"http://{host}:{port}"
        yield plane
    finally:
        await runner.cleanup()
