"""An API with a script: the shapes of the contract, states that a test moves, faults that a test switches on."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from aiohttp import web
from uuid_utils.compat import uuid7

from tests.patience import GIVE_UP_S
from tests.web_server import LAST_TICKS, end

API_KEY = "sk-qd-" + "5e" * 32
"""Planted: no output of the command may hold it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STEPS = [
    "PROVIDER_CREATE", "PROVIDER_START", "PROVIDER_GET_IP", "WORKER_REGISTERED",
    "WORKER_INSTALL", "WORKER_VLLM_HTTP_OK", "WORKER_MODEL_LOADED", "HEALTH_CHECK",
]  # fmt: skip


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Stream:
    """What an SSE path has to tell, numbered from 1."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    resumed_after: list[str | None] = field(default_factory=list)


def problem(status: int, code: str, message: str, **more: Any) -> web.Response:
    body = {
        "type": "about:blank", "title": message, "status": status, "detail": message,
        "error": message, "code": code, "details": {}, "request_id": "req-1234", **more,
    }  # fmt: skip
    return web.json_response(body, status=status, content_type="application/problem+json")


class ScriptedApi:
    """Listens on loopback in a thread of its own. `answers` override what a route does, one use each."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: dict[tuple[str, str], deque[Handler]] = defaultdict(deque)
        self.instances: dict[str, dict[str, Any]] = {}
        self.operations: dict[str, dict[str, Any]] = {}
        self.approvals: list[dict[str, Any]] = []
        self.action_logs: list[dict[str, Any]] = []
        self.streams: dict[str, Stream] = defaultdict(Stream)
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted-api", daemon=True)
        self._thread.start()
        self._runner: web.AppRunner | None = None
        self._transports: WeakSet[asyncio.Transport] = WeakSet()
        self._changed: asyncio.Event = asyncio.Event()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._run(self._start())

    def stop(self) -> None:
        """Closes the listener and breaks every connection, as a killed process would."""
        self._run(self._stop())

    def close(self) -> None:
        self.stop()
        self._run(self._end_handlers())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GIVE_UP_S)
        self._loop.close()

    def next_answers(self, method: str, path: str, *handlers: Handler) -> None:
        self.answers[method, path].extend(handlers)

    def refuse(self, method: str, path: str, status: int, code: str, message: str, **more: Any) -> None:
        async def refusal(_: web.Request) -> web.Response:
            return problem(status, code, message, **more)

        self.next_answers(method, path, refusal)

    def sent(self, method: str, path: str) -> list[Received]:
        return [request for request in self.received if (request.method, request.path) == (method, path)]

    def publish(self, path: str, kind: str, data: dict[str, Any]) -> None:
        self.streams[path].events.append((kind, data))
        self._loop.call_soon_threadsafe(self._wake)

    # -- Objects

    def add_instance(self, **fields: Any) -> str:
        identifier = str(fields.pop("id", None) or uuid7())
        self.instances[identifier] = {
            "id": identifier, "model_name": "SmolLM2 135M", "model_code": "smollm2-135m-instruct", "status": "ready",
            "progress_percent": 100, "completed_steps": STEPS, "waiting_on": None, "provider_name": "Local",
            "zone": "local", "instance_type": "local-cpu-small", "cost_per_hour": 0.75, "total_cost": 0.001234,
            "created_at": "2026-01-31T10:00:00Z", "is_archived": False, "storages": [], **fields,
        }  # fmt: skip
        return identifier

    def add_operation(self, kind: str, instance_id: str, **fields: Any) -> str:
        identifier = str(fields.pop("id", None) or uuid7())
        self.operations[identifier] = {
            "id": identifier, "kind": kind, "status": "running", "progress": 0, "waiting_on": None, "result": None,
            "resource": {"kind": "instance", "id": instance_id, "url": f"/instances/{instance_id}"},
            "created_at": "2026-01-31T10:00:00Z",
            "links": {"self": f"/operations/{identifier}", "events": f"/operations/{identifier}/events"}, **fields,
        }  # fmt: skip
        return identifier

    def add_approval(self, operation_id: str, code: str, **fields: Any) -> str:
        row = {
            "id": str(uuid7()), "operation_id": operation_id, "code": code, "params": {}, "cost_eur": None,
            "status": "pending", **fields,
        }  # fmt: skip
        self.approvals.append(row)
        return str(row["id"])

    def move(self, operation_id: str, *, instance: dict[str, Any] | None = None, **operation: Any) -> None:
        """Changes an operation and its instance, and publishes the event."""
        row = self.operations[operation_id]
        if instance:
            self.instances[row["resource"]["id"]] |= instance
        self.operations[operation_id] = row | operation
        self.publish(f"/operations/{operation_id}/events", "operation.updated", {"id": operation_id})

    def newest_operation(self) -> str:
        return next(reversed(self.operations))

    # -- Serving

    def _run(self, work: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(GIVE_UP_S)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._middleware])
        app.add_routes(
            [
                web.post("/deployments", self._deploy),
                web.get("/instances/search", self._search_instances),
                web.get("/instances/{id}", self._instance),
                web.delete("/instances/{id}", self._terminate),
                web.post("/instances/{id}/reinstall", self._reinstall),
                web.put("/instances/{id}/archive", self._archive),
                web.get("/operations", self._operations),
                web.get("/operations/{id}", self._operation),
                web.get("/operations/{id}/events", self._events),
                web.get("/approvals", self._approvals),
                web.get("/events/stream", self._events),
                web.get("/action_logs", self._action_logs),
                web.get("/action_logs/search", self._search_action_logs),
                web.get("/models", self._models),
                web.get("/auth/me", self._me),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        if self._runner is not None:
            stopping, self._runner = self._runner, None
            self._wake()
            await end(stopping)

    async def _end_handlers(self) -> None:
        """Handlers that a test left waiting: a closed connection does not end them."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for transport in self._transports:
            transport.abort()  # a closed one still waits for a caller who does not read
        for _ in range(LAST_TICKS):
            await asyncio.sleep(0)

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.transport is not None:
            self._transports.add(request.transport)
        raw = await request.read()
        self.received.append(
            Received(
                request.method,
                request.path,
                dict(request.query),
                {name.lower(): value for name, value in request.headers.items()},
                json.loads(raw) if raw else None,
            )
        )
        if request.headers.get("authorization") != f"Bearer {API_KEY}":
            return problem(401, "UNAUTHENTICATED", "no valid credentials")
        queued = self.answers.get((request.method, request.path))
        try:
            return await (queued.popleft() if queued else handler)(request)
        except web.HTTPException as error:
            return problem(error.status, "NOT_FOUND", "there is no such thing")

    async def _deploy(self, request: web.Request) -> web.Response:
        instance_id = self.add_instance(status="provisioning", progress_percent=5, completed_steps=[])
        operation = self.operations[self.add_operation("instance.provision", instance_id, status="pending")]
        return web.json_response({"status": "accepted", "instance_id": instance_id, "operation": operation})

    def _found(self, kept: dict[str, dict[str, Any]], request: web.Request) -> dict[str, Any]:
        if request.match_info["id"] not in kept:
            raise web.HTTPNotFound
        return kept[request.match_info["id"]]

    async def _instance(self, request: web.Request) -> web.Response:
        return web.json_response(self._found(self.instances, request))

    async def _terminate(self, request: web.Request) -> web.Response:
        row = self._found(self.instances, request)
        if row["status"] == "terminated":
            return web.json_response({"status": "terminated", "instance_id": row["id"]})
        row["status"] = "terminating"
        operation = self.operations[self.add_operation("instance.terminate", row["id"])]
        return web.json_response({"status": "accepted", "instance_id": row["id"], "operation": operation}, status=202)

    async def _reinstall(self, request: web.Request) -> web.Response:
        row = self._found(self.instances, request)
        operation = self.operations[self.add_operation("instance.reinstall", row["id"], status="pending")]
        return web.json_response({"status": "accepted", "instance_id": row["id"], "operation": operation}, status=202)

    async def _archive(self, request: web.Request) -> web.Response:
        self._found(self.instances, request).update(status="archived", is_archived=True)
        return web.Response(text="archived")

    async def _search_instances(self, request: web.Request) -> web.Response:
        archived = request.query.get("archived") == "true"
        rows = [row for row in reversed(self.instances.values()) if row["is_archived"] == archived]
        return self._page(request, rows)

    async def _operations(self, request: web.Request) -> web.Response:
        rows = [
            row for row in reversed(self.operations.values()) if request.query.get("status") in (None, row["status"])
        ]
        start, limit = int(request.query.get("cursor", 0)), int(request.query["limit"])
        more = start + limit < len(rows)
        return web.json_response(
            {"rows": rows[start : start + limit], "next_cursor": str(start + limit) if more else None}
        )

    async def _operation(self, request: web.Request) -> web.Response:
        return web.json_response(self._found(self.operations, request))

    async def _approvals(self, request: web.Request) -> web.Response:
        rows = [row for row in reversed(self.approvals) if row["operation_id"] == request.query["operation_id"]]
        return web.json_response({"rows": rows, "next_cursor": None})

    async def _action_logs(self, request: web.Request) -> web.Response:
        return web.json_response(self._logged(request)[: int(request.query.get("limit", 100))])

    async def _search_action_logs(self, request: web.Request) -> web.Response:
        return self._page(request, self._logged(request))

    def _logged(self, request: web.Request) -> list[dict[str, Any]]:
        wanted = request.query.get("instance_id")
        return [row for row in reversed(self.action_logs) if wanted in (None, row["instance_id"])]

    def _page(self, request: web.Request, rows: list[dict[str, Any]]) -> web.Response:
        offset, limit = int(request.query.get("offset", 0)), min(int(request.query.get("limit", 200)), 500)
        page = {"offset": offset, "limit": limit, "total_count": len(rows), "filtered_count": len(rows)}
        return web.json_response(page | {"rows": rows[offset : offset + limit]})

    async def _models(self, _: web.Request) -> web.Response:
        row = {
            "id": str(uuid7()), "code": "smollm2-135m-instruct", "name": "SmolLM2 135M Instruct",
            "model_id": "HuggingFaceTB/SmolLM2-135M-Instruct", "required_vram_gb": 1, "context_length": 2048,
            "is_active": True,
        }  # fmt: skip
        return web.json_response([row])

    async def _me(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "user_id": str(uuid7()), "username": "admin", "email": "admin@quarterdeck.local", "role": "admin",
                "first_name": "Ada", "last_name": None, "current_organization_id": str(uuid7()),
                "current_organization_name": "Quarterdeck", "current_organization_slug": "quarterdeck",
                "current_organization_role": "owner",
            }
        )  # fmt: skip

    async def _events(self, request: web.Request) -> web.StreamResponse:
        stream = self.streams[request.path]
        stream.resumed_after.append(request.headers.get("last-event-id"))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        position = int(request.headers.get("last-event-id", 0))
        await response.write(b'event: hello\ndata: {"ok":true}\n\n')
        while self._runner is not None:
            changed = self._changed
            for kind, data in stream.events[position:]:
                position += 1
                await response.write(f"id: {position}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode())
            await changed.wait()
        return response
