"""What the inference path knows without asking: where requests can go, and which models exist. Sources of two replicas."""

import time
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel import col, select

from models.domain.inference.capabilities import reported_capabilities
from models.domain.inference.resolution import CatalogModel
from models.domain.inference.routing import LONGEST_QUEUE, Route
from models.domain.instances.credentials import serving_key
from models.repositories.database import Database
from models.repositories.replica import Entry
from models.tables.catalog import LlmModel

ROUTES_CHANNEL = "routes"
MODELS_CHANNEL = "models"
ROUTES_RELOAD_S = 2.0
"""Heartbeats notify nobody (DESIGN 4): queue depths and silences are as old as this at most."""
MODELS_RELOAD_S = 60.0

LOAD_ROUTES = text("SELECT * FROM load_routes(CAST(:ids AS uuid[]))")


class RouteSource:
    """Ready instances of every organization whose agent announces the model it was given."""

    def __init__(self, database: Database, installation_key: bytes, stale_after_s: float) -> None:
        self._database = database
        self._installation_key = installation_key
        self._stale_after_s = stale_after_s
        self._authorizations: dict[tuple[UUID, int], str] = {}

    async def load_all(self) -> list[Entry[UUID, Route]]:
        entries = await self._load(None)
        known, self._authorizations = self._authorizations, {}
        for entry in entries:
            of = (entry.value.instance_id, entry.value.generation)
            self._authorizations[of] = known[of]
        return entries

    async def load_some(self, tags: frozenset[str]) -> Iterable[Entry[UUID, Route]]:
        return await self._load([str(identifier) for identifier in _uuids(tags)])

    async def _load(self, ids: list[str] | None) -> list[Entry[UUID, Route]]:
        asked_at_s = time.monotonic()
        async with self._database.system() as session:
            rows: Sequence[Row[Any]] = (await session.execute(LOAD_ROUTES, {"ids": ids})).all()
        routes = (self._route(row, asked_at_s) for row in rows)
        return [Entry(route.instance_id, route, frozenset({str(route.instance_id)})) for route in routes]

    def _route(self, row: Row[Any], asked_at_s: float) -> Route:
        return Route(
            instance_id=row.instance_id,
            organization_id=row.organization_id,
            generation=row.generation,
            model_id=row.model_id,
            url=f"http://{_bracketed(row.endpoint_host)}:{row.endpoint_port}",
            authorization=self._authorization(row.instance_id, row.generation),
            queue_depth=LONGEST_QUEUE if row.queue_depth is None else row.queue_depth,
            fresh_until_s=asked_at_s + self._stale_after_s - row.silent_s,
            capabilities=reported_capabilities(row.capabilities),
        )

    def _authorization(self, instance_id: UUID, generation: int) -> str:
        known = self._authorizations.get((instance_id, generation))
        if known is None:
            known = f"Bearer {serving_key(self._installation_key, instance_id, generation)}"
            self._authorizations[instance_id, generation] = known
        return known


class CatalogSource:
    """The active models."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_all(self) -> list[Entry[UUID, CatalogModel]]:
        return await self._load(None)

    async def load_some(self, tags: frozenset[str]) -> list[Entry[UUID, CatalogModel]]:
        return await self._load(_uuids(tags))

    async def _load(self, ids: list[UUID] | None) -> list[Entry[UUID, CatalogModel]]:
        statement = select(LlmModel).where(col(LlmModel.is_active))
        if ids is not None:
            statement = statement.where(col(LlmModel.id).in_(ids))
        async with self._database.system() as session:
            rows = (await session.exec(statement)).all()
        models = (
            CatalogModel(row.id, row.code, row.model_id, row.context_length, int(row.created_at.timestamp()))
            for row in rows
        )
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
