"""What the inference path knows from memory: the routes and the catalogue, or that neither may be believed any more."""

import asyncio
from uuid import UUID

from api.inference.penalties import Penalties
from models.base.errors import ServiceUnavailable
from models.domain.inference.resolution import CatalogModel, ModelCatalog
from models.domain.inference.routing import Outstanding, Route, RoutingTable
from models.repositories.inference.routes import (
    MODELS_CHANNEL,
    MODELS_RELOAD_S,
    ROUTES_CHANNEL,
    ROUTES_RELOAD_S,
    CatalogSource,
    RouteSource,
)
from models.repositories.replica import Replica

RETRY_AFTER_S = 2.0


class Knowledge:
    """Both tables are indexes over replicas, built again when the replica has changed. Raises ServiceUnavailable when stale.

    Who would be refused by that waits for `catch_up` first.
    """

    def __init__(self, listen_url: str, installation_key: bytes, stale_after_s: float) -> None:
        self.outstanding = Outstanding()
        self.penalties = Penalties()
        self._routes: Replica[UUID, Route] = Replica(
            listen_url,
            ROUTES_CHANNEL,
            RouteSource(installation_key, stale_after_s),
            reload_interval_s=ROUTES_RELOAD_S,
        )
        self._models: Replica[UUID, CatalogModel] = Replica(
            listen_url, MODELS_CHANNEL, CatalogSource(), reload_interval_s=MODELS_RELOAD_S
        )
        self._table, self._table_version = RoutingTable(), -1
        self._catalog, self._catalog_version = ModelCatalog(), -1

    async def start(self) -> None:
        await self._models.start()
        await self._routes.start()

    async def close(self) -> None:
        await self._routes.close()
        await self._models.close()

    @property
    def fresh(self) -> bool:
        return self._routes.fresh and self._models.fresh

    async def catch_up(self) -> None:
        """Wait until both may be believed, for a bounded time."""
        await asyncio.gather(*(each.catch_up() for each in (self._routes, self._models) if not each.fresh))

    def routes(self) -> RoutingTable:
        if not self._routes.fresh:
            raise _stale("ROUTES_STALE")
        if self._table_version != self._routes.version:
            self._table, self._table_version = RoutingTable(self._routes.values()), self._routes.version
            self.outstanding.forget_all_but(self._table.instance_ids)
            self.penalties.forget_all_but(self._table.instance_ids)
        return self._table

    def catalog(self) -> ModelCatalog:
        if not self._models.fresh:
            raise _stale("CATALOG_STALE")
        if self._catalog_version != self._models.version:
            self._catalog, self._catalog_version = ModelCatalog(self._models.values()), self._models.version
        return self._catalog


def _stale(code: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        "where requests can go is not known at the moment; try again shortly", code=code, retry_after_s=RETRY_AFTER_S
    )
