"""The ledger of routes, and the routes that the application has, as comparable sets."""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import WebSocketRoute

from api.registry import FAMILIES

HERE = Path(__file__).parent
ENDPOINTS = HERE / "endpoints.csv"
NOT_BUILT = HERE / "not_built.txt"

PARAMETER = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True, order=True)
class RouteKey:
    """Names of parameters and a slash at the end do not count. A path that ends in `*` stands for what lies below."""

    path: str
    method: str

    @classmethod
    def of(cls, method: str, path: str) -> "RouteKey":
        return cls(PARAMETER.sub("{}", path).rstrip("/") or "/", method)

    def is_met_by(self, routes: Iterable["RouteKey"]) -> bool:
        return any(self.covers(route) for route in routes)

    def covers(self, route: "RouteKey") -> bool:
        if not self.path.endswith("*"):
            return self == route
        folder = self.path.removesuffix("/*")
        is_below = route.path == folder or route.path.startswith(f"{folder}/")
        return is_below and self.method in {"*", route.method}

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def ledger() -> dict[RouteKey, str]:
    """Every row of the contract, with its area."""
    with ENDPOINTS.open(newline="") as file:
        return {RouteKey.of(row["method"], row["path"]): row["area"] for row in csv.DictReader(file)}


def added() -> list[dict[str, str]]:
    """Of every family, each route with its reason."""
    lists = [family.routes_added for family in FAMILIES if family.routes_added is not None]
    return [row for each in lists for row in csv.DictReader(each.read_text().splitlines())]


def not_built() -> dict[RouteKey, str]:
    """Rows that are still to come, with the area under whose heading they stand."""
    area, found = "", {}
    for line in NOT_BUILT.read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("["):
            area = line.strip("[]")
        else:
            method, path = line.split()
            found[RouteKey.of(method, path)] = area
    return found


def routes_of(app: FastAPI) -> set[RouteKey]:
    found = set()
    for route in iter_route_contexts(app.routes):
        if route.path is None:
            raise AssertionError(f"a route without a path cannot be held against the ledger: {route.original_route!r}")
        methods = {"WEBSOCKET"} if isinstance(route.original_route, WebSocketRoute) else route.methods or set()
        found |= {RouteKey.of(method, route.path) for method in methods}
    return found
