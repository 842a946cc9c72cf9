"""The control plane's half of the worker protocol, as small as it can be, with a record of all it heard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.web_server import end


def bootstrap_token(instance_id: str, generation: int = 1) -> str:
    return f"bootstrap-{instance_id}-{generation}"


def worker_token(instance_id: str) -> str:
    return f"wk_{instance_id}"


def serving_key(instance_id: str) -> str:
    return f"serving-{instance_id}"


@dataclass
class Heard:
    token: str
    body: dict[str, Any]


@dataclass
class ControlPlane:
    """`register_status` and `heartbeat_status` other than 200 are answered as they are; `revoked` are instances whose worker tokens
    are not taken until they have registered again, `ended` those that are known no more, `unheard` those whose heartbeats are
    refused all the same.

    `attempts` are all calls of register, `registered` those that succeeded, `beats` the heartbeats that did; `refused` counts what
    did not.
    """

    url: str = ""
    interval_s: float = 0.3
    register_status: int = 200
    heartbeat_status: int = 200
    revoked: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    unheard: set[str] = field(default_factory=set)
    attempts: list[Heard] = field(default_factory=list)
    registered: list[Heard] = field(default_factory=list)
    beats: list[Heard] = field(default_factory=list)
    requests: int = 0
    refused: int = 0
    nonces: dict[str, str] = field(default_factory=dict)

    def answer_with(self, status: int) -> None:
        """Whatever is asked."""
        self.register_status = self.heartbeat_status = status

    def beats_of(self, instance_id: str) -> list[Heard]:
        return [beat for beat in self.beats if beat.body["instance_id"] == instance_id]

    def registrations_of(self, instance_id: str) -> list[Heard]:
        return [each for each in self.registered if each.body["instance_id"] == instance_id]

    def phases(self) -> list[str]:
        """As they were reported, repetitions left out."""
        told = [beat.body["phase"] for beat in self.beats]
        return [phase for before, phase in zip([None, *told], told, strict=False) if phase != before]

    def serves(self) -> bool:
        return bool(self.beats) and self.beats[-1].body["status"] == "ready"

    async def register(self, request: web.Request) -> web.Response:
        heard = await self._hear(request)
        self.attempts.append(heard)
        instance = str(heard.body["instance_id"])
        if self.register_status != 200:
            return self._refuse(self.register_status)
        if instance in self.ended:
            return self._refuse(404)
        as_worker = heard.token == worker_token(instance) and instance not in self.revoked
        if not as_worker and self.nonces.setdefault(heard.token, heard.body["nonce"]) != heard.body["nonce"]:
            return self._refuse(401)
        if not as_worker and not heard.token.startswith(f"bootstrap-{instance}-"):
            return self._refuse(401)
        self.revoked.discard(instance)
        self.registered.append(heard)
        return web.json_response(
            {
                "status": "ok",
                "bootstrap_token": worker_token(instance),
                "bootstrap_token_prefix": "wk_",
                "serving_key": serving_key(instance),
                "heartbeat_interval_s": self.interval_s,
            }
        )

    async def heartbeat(self, request: web.Request) -> web.Response:
        heard = await self._hear(request)
        instance = str(heard.body["instance_id"])
        if self.heartbeat_status != 200:
            return self._refuse(self.heartbeat_status)
        if instance in self.ended:
            return self._refuse(404)
        if heard.token != worker_token(instance) or instance in self.revoked | self.unheard:
            return self._refuse(401)
        self.beats.append(heard)
        return web.json_response({"status": "ok", "heartbeat_interval_s": self.interval_s})

    def _refuse(self, status: int) -> web.Response:
        self.refused += 1
        return web.json_response({}, status=status)

    async def _hear(self, request: web.Request) -> Heard:
        self.requests += 1
        token = request.headers["Authorization"].removeprefix("Bearer ")
        return Heard(token, await request.json())


@asynccontextmanager
async def running_control_plane(port: int = 0, interval_s: float = 0.3) -> AsyncIterator[ControlPlane]:
    plane = ControlPlane(interval_s=interval_s)
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
        await end(runner)
