"""Every route with foreign ids: what another organization has does not exist (peers T24).

The routes are read from the application: one that is added tomorrow is tested, or this file says what it needs to know.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts

from models.base.clock import utc_now
from models.base.ids import new_id
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.identity.roles import Role
from models.domain.keys import fingerprint
from models.tables.activity import ActionComponent, ActionLog, ActionStatus
from models.tables.fleet.catalog import LlmModel
from models.tables.fleet.instances import AgentToken, InstanceLiveness, InstanceVolume
from tests.api import test_sockets
from tests.api.conftest import Person, client_of, served
from tests.api.fleet.rented import Agent
from tests.api.following import follower
from tests.factories import fleet
from tests.factories.any_rows import tenant_tables
from tests.factories.approvals import approval
from tests.factories.seeded import SeededApi, lonely_settings, seeded_api
from tests.factories.unstarted import unstarted_app
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase

OWNED = {"instance_id", "operation_id", "approval_id", "api_key_id", "resource_id"}
"""Parameters, in a path or a query, that name something of an organization."""

SHARED = {"zone_id", "region_id", "instance_type_id", "provider_id", "model", "model_id", "asset"}
"""Those that name something of the installation, which every member reads (DESIGN 3)."""

BODIES: dict[str, object] = {"PUT /api_keys/{api_key_id}": {"name": "stolen"}}
"""What a route wants besides the id: without it the answer would be 422, before anybody looks for the id."""

OPEN_STREAMS = {"/events/stream"}
"""These do not end: `test_a_stream_tells_what_happens_at_home` follows them."""


def names_in(path: str) -> set[str]:
    return set(re.findall(r"{(\w+)[^}]*}", path))


@dataclass(frozen=True)
class Endpoint:
    method: str
    route: APIRoute

    @property
    def path(self) -> str:
        return self.route.path

    @property
    def in_path(self) -> set[str]:
        return names_in(self.path)

    @property
    def in_query(self) -> set[str]:
        declared = get_flat_params(self.route.dependant)
        return {field.alias for field in declared if isinstance(field.field_info, Query)}

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def endpoints() -> Iterator[Endpoint]:
    for context in iter_route_contexts(unstarted_app().routes):
        route = context.original_route
        if isinstance(route, APIWebSocketRoute):
            continue  # those of `SOCKETS`
        assert isinstance(route, APIRoute), f"{context.path}: not a route of the framework; write its test by hand"
        for method in sorted(route.methods or ()):
            yield Endpoint(method, route)


def sockets() -> Iterator[str]:
    """The paths of the product's sockets, and of one that is only here: there may be no other yet."""
    of_the_product = (context for context in iter_route_contexts(unstarted_app().routes))
    yield from (str(each.path) for each in of_the_product if isinstance(each.original_route, APIWebSocketRoute))
    yield from (route.path for route in test_sockets.ROUTER.routes if isinstance(route, APIWebSocketRoute))


ENDPOINTS = list(endpoints())
SOCKETS = [path for path in sockets() if names_in(path) & OWNED]
WITH_OWNED_ID = [one for one in ENDPOINTS if one.in_path & OWNED]
LISTS = [one for one in ENDPOINTS if one.method == "GET" and not one.in_path and one.path not in OPEN_STREAMS]
FILTERED = [(one, name) for one in LISTS for name in sorted(one.in_query & OWNED)]


@dataclass(frozen=True)
class World:
    """`owner` has one of everything. The others are of another organization, or of both."""

    seeded: SeededApi
    owner: Person
    stranger: Person
    superadmin: Person
    guest: Person
    ids: dict[str, UUID]
    marker: str

    @property
    def strangers(self) -> list[Person]:
        return [self.stranger, self.superadmin, self.guest]

    def everything_of_the_owner(self) -> str:
        """Every row of the owner's organization, as text."""
        found = {}
        for table in tenant_tables():
            found[table] = self.seeded.people.execute(
                f"SELECT (to_jsonb(t) - 'last_used_at')::text FROM {table} t WHERE organization_id = %s ORDER BY 1",  # noqa: S608
                self.owner.organization_id,
            )
        return json.dumps(found)


@pytest.fixture(scope="module")
async def world(module_database: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with seeded_api(module_database, tmp_path_factory.mktemp("home")) as seeded:
        yield populated(seeded)


def populated(seeded: SeededApi) -> World:
    people, rows, marker = seeded.people, seeded.rows, f"m{secrets.token_hex(12)}"
    owner, stranger, superadmin = people.person(), people.person(), people.person(is_superadmin=True)
    guest = people.person()  # belongs to the owner's organization as well, and calls for another one
    people.execute(
        "INSERT INTO memberships (organization_id, user_id, role) VALUES (%s, %s, 'owner')",
        owner.organization_id, guest.user_id,
    )  # fmt: skip
    model_id = rows.one(LlmModel, model_id="mock-echo-model").id
    machine = rows.machine(owner.organization_id, InstanceStatus.READY, model_id=model_id, error_message=marker)
    operation = rows.operation(machine, error_message=marker)
    asked = approval(operation, comment=marker)
    rows.add(
        asked,
        fleet.serving(machine, "mock-echo-model", worker_id=marker),
        InstanceVolume(
            organization_id=owner.organization_id, instance_id=machine.id, provider_volume_id=marker, name=marker,
            volume_type=marker, size_gb=1,
        ),
        ActionLog(
            organization_id=owner.organization_id, action_type="HEALTH_CHECK", component=ActionComponent.API,
            status=ActionStatus.FAILED, instance_id=machine.id, error_message=marker,
        ),
    )  # fmt: skip
    child_id = new_id()  # what a key made is what it may see
    people.execute(
        "INSERT INTO api_keys (id, organization_id, user_id, parent_id, name, key_prefix, key_hash, scopes)"
        " VALUES (%s, %s, %s, %s, 'child', 'sk-qd-child', %s, '[]')",
        child_id, owner.organization_id, owner.user_id, owner.api_key_id, marker,
    )  # fmt: skip
    ids = {
        "instance_id": machine.id,
        "resource_id": machine.id,
        "operation_id": operation.id,
        "approval_id": asked.id,
        "api_key_id": child_id,
    }
    return World(seeded, owner, stranger, superadmin, guest, ids, marker)


def names(items: list[Any]) -> list[str]:
    return [" ".join(map(str, item)) if isinstance(item, tuple) else str(item) for item in items]


def filled(path: str, ids: dict[str, UUID]) -> str:
    return re.sub(r"{(\w+)[^}]*}", lambda match: str(ids[match[1]]), path)


def without_the_request(response: httpx.Response, asked_for: UUID) -> dict[str, Any]:
    return {
        name: value
        for name, value in json.loads(response.text.replace(str(asked_for), "ID")).items()
        if name != "request_id"
    }


def test_it_is_known_of_every_parameter_whose_things_it_names():
    in_paths = {name for one in ENDPOINTS for name in one.in_path} | {
        name for path in sockets() for name in names_in(path)
    }
    assert in_paths - OWNED - SHARED == set(), "say in OWNED or SHARED whose these are"
    ids_in_queries = {name for one in ENDPOINTS for name in one.in_query if name.endswith("_id")}
    assert ids_in_queries - OWNED - SHARED == set(), "say in OWNED or SHARED whose these are"
    assert len(WITH_OWNED_ID) >= 10
    assert len(LISTS) >= 20
    assert len(FILTERED) >= 3


@pytest.mark.parametrize("endpoint", WITH_OWNED_ID, ids=names(WITH_OWNED_ID))
async def test_what_is_anothers_does_not_exist(world: World, endpoint: Endpoint):
    """Not for a stranger, a superadmin, or a member who calls for another organization; and it looks like any unknown id."""
    before = world.everything_of_the_owner()
    body = BODIES.get(str(endpoint))
    for person in world.strangers:
        answers = []
        for ids in (world.ids, dict.fromkeys(world.ids, new_id())):
            answer = await world.seeded.call(endpoint.method, filled(endpoint.path, ids), person, json=body)
            assert answer.status_code == 404, f"{answer.status_code}: {answer.text}"
            assert world.marker not in answer.text
            answers.append(without_the_request(answer, ids["instance_id"]))
        assert answers[0] == answers[1], "a foreign id must look like an unknown one"
    assert world.everything_of_the_owner() == before


@pytest.mark.parametrize("endpoint", WITH_OWNED_ID, ids=names(WITH_OWNED_ID))
async def test_nobody_learns_nothing_from_an_id(world: World, endpoint: Endpoint):
    body = BODIES.get(str(endpoint))
    for ids in (world.ids, dict.fromkeys(world.ids, new_id())):
        answer = await world.seeded.api.client.request(endpoint.method, filled(endpoint.path, ids), json=body)
        assert (answer.status_code, answer.json()["code"]) == (401, "LOGIN_REQUIRED")


@pytest.mark.parametrize("path", SOCKETS)
async def test_a_socket_of_anothers_does_not_exist(
    world: World, module_database: TestDatabase, tmp_path: Path, path: str
):
    settings = lonely_settings(module_database, tmp_path)
    async with served(settings, sockets=[test_sockets.ROUTER]) as server:
        for person in world.strangers:
            ends = []
            for ids in (world.ids, dict.fromkeys(world.ids, new_id())):
                async with test_sockets.peer(server, filled(path, ids), person) as one:
                    code, reason = await one.closed()
                    told = one.last["data"]["message"].replace(str(ids["operation_id"]), "ID")
                    ends.append((code, reason, told))
            assert ends[0][0] == 4003
            assert ends[0] == ends[1], "a foreign id must look like an unknown one"
            assert world.marker not in str(ends)
        async with test_sockets.peer(server, filled(path, world.ids)) as nobody:
            await nobody.say("hello")
            assert (await nobody.closed())[0] == 4401
        async with test_sockets.peer(server, filled(path, world.ids), world.owner) as own:
            assert (await own.next())["type"] == "hello"


@pytest.mark.parametrize("endpoint", LISTS, ids=names(LISTS))
async def test_lists_and_searches_hold_nothing_of_anothers(world: World, endpoint: Endpoint):
    secrets_of_the_owner = {
        world.marker, world.owner.username, str(world.owner.organization_id), *map(str, world.ids.values()),
    }  # fmt: skip
    for person in (world.stranger, world.superadmin):
        answer = await world.seeded.call("GET", endpoint.path, person, 200)
        assert [secret for secret in secrets_of_the_owner if secret in answer.text] == []


async def test_the_owner_does_see_what_is_looked_for_above(world: World):
    """Otherwise the tests above would find nothing because there is nothing."""
    for path in ("/instances", "/instances/search", "/operations", "/action_logs", "/api_keys", "/v1/models"):
        text = (await world.seeded.call("GET", path, world.owner, 200)).text
        assert any(str(one) in text for one in (*world.ids.values(), "mock-echo-model")), path


@pytest.mark.parametrize(("endpoint", "name"), FILTERED, ids=names(FILTERED))
async def test_a_foreign_id_as_a_filter_finds_nothing(world: World, endpoint: Endpoint, name: str):
    query = {name: str(world.ids[name])}
    foreign = (await world.seeded.call("GET", endpoint.path, world.stranger, 200, params=query)).json()
    own = (await world.seeded.call("GET", endpoint.path, world.owner, 200, params=query)).json()
    rows, own_rows = (found if isinstance(found, list) else found["rows"] for found in (foreign, own))
    assert rows == []
    assert own_rows != [], "a filter that finds nothing at all shows nothing"
    assert not isinstance(foreign, dict) or foreign.get("total_count", 0) == 0


async def test_a_cursor_of_another_opens_nothing(world: World):
    for _ in range(3):
        await world.seeded.deploy(world.owner, model_id="mock-echo-model")
    page = (await world.seeded.call("GET", "/operations", world.owner, 200, params={"limit": 1})).json()
    assert page["next_cursor"] is not None
    taken = await world.seeded.call("GET", "/operations", world.stranger, 200, params={"cursor": page["next_cursor"]})
    assert taken.json()["rows"] == []


async def test_a_model_that_only_others_serve_is_not_served(world: World):
    body = {"model": "mock-echo-model", "messages": [{"role": "user", "content": "hello"}]}
    for person in world.strangers:
        answer = await world.seeded.call("POST", "/v1/chat/completions", person, 503, json=body)
        assert answer.json()["error"]["code"] == "no_ready_worker"
        assert "x-quarterdeck-instance" not in answer.headers
        assert (await world.seeded.call("GET", "/v1/models", person, 200)).json()["data"] == []


async def test_an_idempotency_key_of_another_replays_nothing(world: World):
    headers = {"idempotency-key": "shared-words"}
    order = {"model_id": "mock-echo-model"}
    first = await world.seeded.call("POST", "/deployments", world.owner, 200, json=order, headers=headers)
    second = await world.seeded.call("POST", "/deployments", world.stranger, 200, json=order, headers=headers)
    assert first.json()["instance_id"] != second.json()["instance_id"]
    assert "idempotent-replayed" not in second.headers


async def test_an_agent_speaks_for_its_own_instance_only(world: World):
    rows, token = world.seeded.rows, "wk_" + secrets.token_hex(32)
    own = rows.machine(world.stranger.organization_id)
    rows.add(
        AgentToken(
            organization_id=own.organization_id, instance_id=own.id, generation=1, bootstrap_hash=secrets.token_hex(32),
            bootstrap_expires_at=utc_now() + timedelta(hours=1), token_hash=fingerprint(token),
        )
    )  # fmt: skip
    async with client_of(world.seeded.api.app) as client:

        async def beat(instance_id: UUID) -> int:
            agent = Agent(client, instance_id)
            body = {"instance_id": str(instance_id), "boot_id": agent.boot_id, "status": "ready"}
            return (await agent.post("heartbeat", token, body)).status_code

        assert await beat(own.id) == 200
        assert await beat(world.ids["instance_id"]) == 401
        foreign = Agent(client, world.ids["instance_id"])
        assert (await foreign.try_register(token)).status_code == 401
    liveness = rows.one(InstanceLiveness, instance_id=world.ids["instance_id"])
    assert liveness.boot_id is None


async def test_a_stream_tells_what_happens_at_home(database: TestDatabase, tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("home")
    async with seeded_api(database, home) as seeded, served(lonely_settings(database, home)) as server:
        owner, stranger = seeded.people.person(), seeded.people.person(Role.VIEWER)
        neighbour = seeded.people.person(organization_id=stranger.organization_id)
        foreign = (await seeded.deploy(owner, model_id="mock-echo-model"))["instance_id"]
        streams = [{}, {"instance_id": foreign}, {"topics": "instances"}]
        for query in streams:
            async with (
                asyncio.timeout(GIVE_UP_S),
                follower(f"{server.url}/events/stream", stranger.bearer, **query) as reader,
            ):
                assert (await reader.next()).kind == "hello"  # type: ignore[union-attr]
                await seeded.call("DELETE", f"/instances/{foreign}", owner)
                mine = (await seeded.deploy(neighbour, model_id="mock-echo-model"))["instance_id"]
                seen = await reader.next()
                assert seen is not None
                assert (seen.kind, seen.data["ids"]) == ("instance.updated", [mine])
