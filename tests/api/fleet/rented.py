"""Instances as their owners would have left them, and node agents as the protocol describes them."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx

from models.base.clock import utc_now
from models.domain.fleet.instances.credentials import bootstrap_token
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.keys import decode_installation_key, fingerprint
from models.tables.fleet.instances import AgentToken
from tests.api.conftest import INSTALLATION_KEY, People
from tests.factories import fleet

KEY = decode_installation_key(INSTALLATION_KEY)
MODEL = "org/model-1"


class Fleet:
    """Instances put into the database as their owners would have left them."""

    def __init__(self, people: People, url: str) -> None:
        self.execute, self.add = people.execute, people.add
        self.url = url
        self.organization_id = people.organization()
        self.provider, self.model = fleet.provider("mock"), fleet.model("model-1", model_id=MODEL, required_vram_gb=1)
        self.add(self.provider, self.model)

    def instance(self, *, status: str = "booting", generation: int = 1, valid_for_s: float = 3600) -> UUID:
        made = fleet.instance(
            self.organization_id, self.provider.id, InstanceStatus(status), model_id=self.model.id, generation=generation,
            boot_count=1,
        )  # fmt: skip
        self.add(made)
        self.token(made.id, generation, valid_for_s=valid_for_s)
        return made.id

    def token(self, instance_id: UUID, generation: int, *, valid_for_s: float = 3600) -> None:
        self.add(
            AgentToken(
                organization_id=self.organization_id, instance_id=instance_id, generation=generation,
                bootstrap_hash=fingerprint(bootstrap_token(KEY, instance_id, generation)),
                bootstrap_expires_at=utc_now() + timedelta(seconds=valid_for_s),
            )
        )  # fmt: skip

    def reinstall(self, instance_id: UUID) -> None:
        [(generation,)] = self.execute(
            "UPDATE instances SET generation = generation + 1 WHERE id = %s RETURNING generation", instance_id
        )
        assert isinstance(generation, int)
        self.token(instance_id, generation)

    def liveness(self, instance_id: UUID) -> dict[str, Any]:
        [row] = self.execute("SELECT to_jsonb(l) FROM instance_liveness l WHERE instance_id = %s", instance_id)
        found = row[0]
        assert isinstance(found, dict)
        return found

    def edges(self, instance_id: UUID) -> list[str]:
        rows = self.execute(
            "SELECT payload ->> 'edge' FROM outbox WHERE workflow_id = %s ORDER BY created_at, id",
            f"instance/{instance_id}",
        )
        return [str(edge) for (edge,) in rows]


@dataclass
class Agent:
    """A node agent as the protocol describes it."""

    client: httpx.AsyncClient
    instance_id: UUID
    generation: int = 1
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    boot_id: str = field(default_factory=lambda: secrets.token_hex(8))
    token: str = ""

    async def post(self, route: str, token: str | None, body: dict[str, Any]) -> httpx.Response:
        headers = {"content-type": "application/json"} | (
            {"authorization": f"Bearer {token}"} if token is not None else {}
        )
        return await self.client.post(f"/internal/worker/{route}", content=json.dumps(body), headers=headers)

    def identity(self) -> dict[str, Any]:
        return {"instance_id": str(self.instance_id), "worker_id": "node-1", "boot_id": self.boot_id, "model_id": MODEL}

    async def try_register(self, token: str | None = None, **changes: Any) -> httpx.Response:
        body = self.identity() | {"nonce": self.nonce, "metadata": {"agent_version": "1.2"}} | changes
        return await self.post("register", token or bootstrap_token(KEY, self.instance_id, self.generation), body)

    async def register(self, token: str | None = None) -> dict[str, Any]:
        answer = await self.try_register(token)
        assert answer.status_code == 200, answer.text
        self.token = answer.json()["bootstrap_token"]
        return dict(answer.json())

    async def try_beat(self, status: str = "ready", **changes: Any) -> httpx.Response:
        body = self.identity() | {"status": status, "slots_total": 2, "slots_busy": 1, "queue_depth": 0} | changes
        return await self.post("heartbeat", self.token, body)

    async def beat(self, status: str = "ready", **changes: Any) -> None:
        answer = await self.try_beat(status, **changes)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"status": "ok"}
