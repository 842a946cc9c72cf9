"""What the inference path knows without asking: where requests can go, and which models exist. Sources of two replicas."""

import time
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from models.domain.fleet.instances.credentials import serving_key
from models.domain.inference.capabilities import reported_capabilities
from models.domain.inference.resolution import CatalogModel
from models.domain.inference.routing import LONGEST_QUEUE, Route
from models.repositories.listener import Connection
from models.repositories.replica import Entry

ROUTES_CHANNEL = "routes"
MODELS_CHANNEL = "models"
ROUTES_RELOAD_S = 2.0
"""Heartbeats notify nobody (DESIGN 4): queue depths and silences are as old as this at most."""
MODELS_RELOAD_S = 60.0

LOAD_ROUTES = "SELECT * FROM load_routes(%(ids)s::uuid[])"
LOAD_MODELS = (
    "SELECT id, code, model_id, context_length, created_at FROM models"
    " WHERE is_active AND (%(ids)s::uuid[] IS NULL OR id = ANY (%(ids)s::uuid[]))"
)


class RouteSource:
    """Ready instances of every organization whose agent announces the model it was given."""

    def __init__(self, installation_key: bytes, stale_after_s: float) -> None:
        self._installation_key = installation_key
        self._stale_after_s = stale_after_s
        self._authorizations: dict[tuple[UUID, int], str] = {}

    async def load_all(self, connection: Connection) -> list[Entry[UUID, Route]]:
        entries = await self._load(connection, None)
        known, self._authorizations = self._authorizations, {}
        for entry in entries:
            of = (entry.value.instance_id, entry.value.generation)
            self._authorizations[of] = known[of]
        return entries

    async def load_some(self, connection: Connection, tags: frozenset[str]) -> Iterable[Entry[UUID, Route]]:
        return await self._load(connection, _uuids(tags))

    async def _load(self, connection: Connection, ids: list[UUID] | None) -> list[Entry[UUID, Route]]:
        asked_at_s = time.monotonic()
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(LOAD_ROUTES, {"ids": ids})
            routes = [self._route(row, asked_at_s) async for row in cursor]
        return [Entry(route.instance_id, route, frozenset({str(route.instance_id)})) for route in routes]

    def _route(self, row: Mapping[str, Any], asked_at_s: float) -> Route:
        return Route(
            instance_id=row["instance_id"],
            organization_id=row["organization_id"],
            generation=row["generation"],
            model_id=row["model_id"],
            url=f"http://{_bracketed(row['endpoint_host'])}:{row['endpoint_port']}",
            authorization=self._authorization(row["instance_id"], row["generation"]),
            queue_depth=LONGEST_QUEUE if row["queue_depth"] is None else row["queue_depth"],
            fresh_until_s=asked_at_s + self._stale_after_s - row["silent_s"],
            capabilities=reported_capabilities(row["capabilities"]),
        )

    def _authorization(self, instance_id: UUID, generation: int) -> str:
        known = self._authorizations.get((instance_id, generation))
        if known is None:
            known = f"Bearer {serving_key(self._installation_key, instance_id, generation)}"
            self._authorizations[instance_id, generation] = known
        return known


class CatalogSource:
    """The active models."""

    async def load_all(self, connection: Connection) -> list[Entry[UUID, CatalogModel]]:
        return await self._load(connection, None)

    async def load_some(self, connection: Connection, tags: frozenset[str]) -> list[Entry[UUID, CatalogModel]]:
        return await self._load(connection, _uuids(tags))

    async def _load(self, connection: Connection, ids: list[UUID] | None) -> list[Entry[UUID, CatalogModel]]:
        cursor = await connection.execute(LOAD_MODELS, {"ids": ids})
        models = [
            CatalogModel(model_id, code, name, context_length, int(created_at.timestamp()))
            async for model_id, code, name, context_length, created_at in cursor
        ]
        return [Entry(model.id, model, frozenset({str(model.id)})) for model in models]


def _uuids(tags: frozenset[str]) -> list[UUID]:
    """Anyone who may connect may notify: what is not an id is no news."""
    found = []
    for tag in tags:
        try:
            found.append(UUID(tag))
        except ValueError:
            continue
    return found


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
