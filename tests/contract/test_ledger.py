"""Every route of the contract answers or is listed as still to come; every other route says why it exists."""

import csv
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI

from api.app import create_app
from api.composition import build_state
from models.settings import Settings
from tests.contract.ledger import ENDPOINTS, RouteKey, added, ledger, not_built, routes_of

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"


@pytest.fixture
async def routes(tmp_path: Path) -> set[RouteKey]:
    settings = Settings(
        home=tmp_path, installation_key=KEY, database_url_api="postgresql://nobody:none@127.0.0.1:1/none"
    )
    state = build_state(settings)
    try:
        return routes_of(create_app(state))
    finally:
        await state.database.close()


def test_the_ledger_is_whole():
    with ENDPOINTS.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 204
    assert len(ledger()) > 190


async def test_every_row_answers_or_is_listed_as_not_built(routes: set[RouteKey]):
    missing = {row for row in ledger() if not row.is_met_by(routes)} - set(not_built())
    assert not missing, f"in the ledger, but neither built nor in not_built.txt: {sorted(map(str, missing))}"


async def test_what_is_listed_as_not_built_does_not_exist(routes: set[RouteKey]):
    built = [str(row) for row in not_built() if row.is_met_by(routes)]
    assert not built, f"these exist now: remove them from not_built.txt: {built}"


def test_what_is_listed_as_not_built_is_in_the_ledger_under_its_area():
    assert {row: area for row, area in not_built().items() if ledger().get(row) != area} == {}


async def test_every_other_route_is_listed_with_its_reason(routes: set[RouteKey]):
    listed = {RouteKey.of(row["method"], row["path"]) for row in added()}
    others = {route for route in routes if not any(row.covers(route) for row in ledger())}
    assert others - listed == set(), "add these to the `routes_added` of their family"
    assert listed - others == set(), "listed as added, but no such route exists outside of the ledger"


def test_every_added_route_has_a_reason_an_authentication_and_a_limit():
    assert [row for row in added() if not all(row[name] for name in ("reason", "authentication", "limit"))] == []


@pytest.mark.parametrize(
    ("row", "route", "is_covered"),
    [
        (("GET", "/instances/{id}"), ("GET", "/instances/{instance_id}"), True),
        (("GET", "/api/v1/organizations/"), ("GET", "/api/v1/organizations"), True),
        (("GET", "/instances/{id}"), ("PUT", "/instances/{id}"), False),
        (("GET", "/instances/{id}"), ("GET", "/instances/search"), False),
        (("GET", "/swagger-ui/*"), ("GET", "/swagger-ui/{asset}"), True),
        (("GET", "/swagger-ui/*"), ("GET", "/swagger-ui-2"), False),
        (("*", "/api/v1/stacks/*"), ("DELETE", "/api/v1/stacks/{id}"), True),
    ],
)
def test_how_rows_and_routes_compare(row: tuple[str, str], route: tuple[str, str], is_covered: bool):
    assert RouteKey.of(*row).covers(RouteKey.of(*route)) is is_covered


def test_routes_behind_included_routers_and_sockets_are_seen():
    app, inner = FastAPI(openapi_url=None, docs_url=None, redoc_url=None), APIRouter(prefix="/inner")
    inner.get("/{x}")(lambda x: x)
    app.include_router(inner, prefix="/outer")

    @app.websocket("/socket")
    async def socket() -> None: ...

    assert routes_of(app) == {RouteKey.of("GET", "/outer/inner/{y}"), RouteKey.of("WEBSOCKET", "/socket")}
