"""Operations as readers see them (DESIGN 3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from models.base.ids import new_id
from models.domain.identity.roles import Role
from models.settings import Settings
from tests.api.conftest import People, Person, RunningApi, Served, served
from tests.api.following import follower
from tests.factories.added_tables import add_tables
from tests.servers import TestDatabase

NOW = datetime(2026, 1, 31, 10, tzinfo=UTC)


def operation(people: People, person: Person, **columns: object) -> UUID:
    resource_id = columns.get("resource_id") or new_id()
    row: dict[str, object] = {
        "id": new_id(),
        "organization_id": person.organization_id,
        "kind": "instance.provision",
        "status": "running",
        "resource_kind": "instance",
        "resource_id": resource_id,
        "workflow_id": f"instance/{resource_id}",
        "progress_percent": 40,
        "created_at": NOW,
    } | columns
    names = ", ".join(row)
    people.execute(f"INSERT INTO operations ({names}) VALUES ({', '.join(['%s'] * len(row))})", *row.values())  # noqa: S608
    identifier = row["id"]
    assert isinstance(identifier, UUID)
    return identifier


async def test_an_operation_says_what_it_is_how_far_and_what_it_waits_for(api: RunningApi, people: People):
    person = people.person(Role.VIEWER)
    operation_id = operation(
        people, person, waiting_on="PROVIDER_ANSWERS", waiting_params=json.dumps({"error_code": "PROVIDER_AUTH"}), waiting_since=NOW, waiting_until=NOW + timedelta(hours=1),
        held_code="PROVIDER_AUTH", held_since=NOW,
    )  # fmt: skip
    response = await api.client.get(f"/operations/{operation_id}", headers=person.bearer)
    body = response.json()
    assert response.status_code == 200
    resource_id = body["resource"]["id"]
    assert body == {
        "id": str(operation_id),
        "kind": "instance.provision",
        "status": "running",
        "progress": 40.0,
        "waiting_on": {
            "code": "PROVIDER_ANSWERS",
            "params": {"error_code": "PROVIDER_AUTH"},
            "since": "2026-01-31T10:00:00Z",
            "until": "2026-01-31T11:00:00Z",
            "who": "provider",
            "actions": [],
            "what": "the provider to answer (PROVIDER_AUTH)",
            "why": None,
        },
        "held": {"code": "PROVIDER_AUTH", "since": "2026-01-31T10:00:00Z"},
        "resource": {"kind": "instance", "id": resource_id, "url": f"/instances/{resource_id}"},
        "result": None,
        "error": None,
        "created_at": "2026-01-31T10:00:00Z",
        "started_at": None,
        "completed_at": None,
        "cancel_requested_at": None,
        "links": {
            "self": f"/operations/{operation_id}",
            "events": f"/operations/{operation_id}/events",
            "temporal_ui": f"http://127.0.0.1:8233/namespaces/default/workflows/instance%2F{resource_id}",
        },
    }


async def test_one_that_failed_says_why_and_waits_for_nothing(api: RunningApi, people: People):
    person = people.person()
    operation_id = operation(
        people, person, status="failed", error_code="NO_CAPACITY", error_message="full", waiting_on="left over",
        completed_at=NOW, held_code="PROVIDER_AUTH", held_since=NOW, result=json.dumps({"a": 1}),
    )  # fmt: skip
    body = (await api.client.get(f"/operations/{operation_id}", headers=person.bearer)).json()
    assert body["error"] == {"code": "NO_CAPACITY", "message": "full"}
    assert (body["waiting_on"], body["result"], body["completed_at"]) == (None, {"a": 1}, "2026-01-31T10:00:00Z")
    assert body["held"] is None


@pytest.mark.parametrize("suffix", ["", "/events"])
async def test_anothers_and_an_unknown_operation_do_not_exist(api: RunningApi, people: People, suffix: str):
    person, other = people.person(), people.person()
    theirs = operation(people, other)
    for identifier in (theirs, uuid4()):
        response = await api.client.get(f"/operations/{identifier}{suffix}", headers=person.bearer)
        assert (response.status_code, response.json()["code"]) == (404, "OPERATION_NOT_FOUND")
    assert (await api.client.get(f"/operations/x{suffix}", headers=person.bearer)).status_code == 422
    assert (await api.client.get("/operations", headers=person.bearer)).json() == {"rows": [], "next_cursor": None}


async def test_pages_hold_everything_once_while_new_ones_arrive(api: RunningApi, people: People):
    person = people.person()
    made = [operation(people, person, created_at=NOW + timedelta(seconds=number // 4)) for number in range(23)]
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(10):
        params = {"limit": "5"} if cursor is None else {"limit": "5", "cursor": cursor}
        page = (await api.client.get("/operations", params=params, headers=person.bearer)).json()
        seen += [row["id"] for row in page["rows"]]
        operation(people, person, created_at=NOW + timedelta(days=1))
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [str(identifier) for identifier in reversed(made)]


async def test_one_of_a_kind_that_this_process_does_not_know_is_shown(
    api: RunningApi, people: People, database: TestDatabase
):
    """Another process, of a version with one family more, has ordered it."""
    add_tables(database, words={"operationkind": ["toy.wind_up"]})
    person = people.person()
    operation_id = operation(people, person, kind="toy.wind_up", resource_kind="toy", workflow_id="toy/1")
    read = await api.client.get(f"/operations/{operation_id}", headers=person.bearer)
    assert (read.status_code, read.json()["kind"], read.json()["resource"]["url"]) == (200, "toy.wind_up", None)
    page = (await api.client.get("/operations", headers=person.bearer)).json()
    assert [row["kind"] for row in page["rows"]] == ["toy.wind_up"]


async def test_filters(api: RunningApi, people: People):
    person = people.person()
    resource = new_id()
    running = operation(people, person, resource_id=resource)
    done = operation(people, person, status="succeeded", kind="instance.terminate", resource_id=resource)
    operation(people, person)

    async def found(**params: str) -> set[str]:
        response = await api.client.get("/operations", params=params, headers=person.bearer)
        return {row["id"] for row in response.json()["rows"]}

    assert await found(resource_id=str(resource)) == {str(running), str(done)}
    assert await found(kind="instance.terminate") == {str(done)}
    assert await found(status="succeeded", resource_id=str(resource)) == {str(done)}
    assert await found(status="running", kind="instance.terminate") == set()


@pytest.mark.parametrize(
    "query",
    ["kind=x", "status=x", "resource_id=x", "cursor=x", "cursor=%00", "cursor=" + "a" * 300, "owner=me", "limit=x"],
)
async def test_what_cannot_be_listed_is_422(api: RunningApi, people: People, query: str):
    response = await api.client.get(f"/operations?{query}", headers=people.person().bearer)
    assert response.status_code == 422


@pytest.fixture
async def server(api_settings: Settings) -> AsyncIterator[Served]:
    async with served(api_settings) as running:
        yield running


def move(people: People, person: Person, operation_id: UUID, status: str, completed: str = "NULL") -> int:
    """What the owner does in one transaction: the row and its event."""
    ((seq,),) = people.execute(
        f"WITH moved AS (UPDATE operations SET status = %s, completed_at = {completed} WHERE id = %s RETURNING id)"  # noqa: S608
        " SELECT append_event('operation/' || id, %s, 'operation.updated', '{\"status\": \"ready\"}') FROM moved",
        status, operation_id, person.organization_id,
    )  # fmt: skip
    assert isinstance(seq, int)
    return seq


async def test_following_shows_every_event_and_ends_with_the_operation(server: Served, people: People):
    person = people.person()
    operation_id = operation(people, person)
    first = move(people, person, operation_id, "running")
    url = f"{server.url}/operations/{operation_id}/events"
    async with follower(url, person.bearer) as reader:
        hello, earlier = await reader.next(), await reader.next()
        assert hello is not None
        assert earlier is not None
        assert (hello.kind, earlier.kind, earlier.id) == ("hello", "operation.updated", first)
        await asyncio.sleep(0.1)
        last = move(people, person, operation_id, "succeeded", "now()")
        rest = await reader.until_end()
    assert [(seen.kind, seen.id) for seen in rest] == [("operation.updated", last), ("operation.ended", None)]
    assert (rest[-1].data["id"], rest[-1].data["status"]) == (str(operation_id), "succeeded")
    assert rest[-1].data["links"]["self"] == f"/operations/{operation_id}"


async def test_resuming_after_the_last_event_of_one_that_ended_says_so_and_ends(server: Served, people: People):
    person = people.person()
    operation_id = operation(people, person)
    last = move(people, person, operation_id, "failed", "now()")
    async with follower(f"{server.url}/operations/{operation_id}/events", person.bearer, after=last) as reader:
        assert [seen.kind for seen in await reader.until_end()] == ["hello", "operation.ended"]
