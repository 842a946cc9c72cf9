"""`Prefer: wait=N` (RFC 7240; DESIGN 3): an answer that waits for the end of the operation, and for nothing longer than that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import JSONResponse, Response

from api.http.routing import Route
from api.schemas.operations import operation_path
from api.security.permissions import AnyPrincipal
from api.waiting import Wait
from models.domain.fleet.instances.state import InstanceStatus
from models.domain.keys import fingerprint
from models.domain.operations import OperationStatus
from models.repositories import operations
from models.tables.operations import Operation
from tests.api.conftest import Person, served
from tests.factories.seeded import SeededApi, lonely_settings, seeded_api
from tests.patience import GIVE_UP_S
from tests.servers import TestDatabase

S, WAIT = InstanceStatus, {"prefer": "wait=20"}
RESULTS = APIRouter(route_class=Route)
SECRET = "a text that is nobody else's business"


@RESULTS.post("/results/{operation_id}", status_code=202)
async def make_result(operation_id: UUID, principal: AnyPrincipal, wait: Wait) -> Response:
    """What a route does whose contract fixes a result: it answers where it lies, and reads it when it is there."""

    async def read(session: AsyncSession, operation: Operation) -> dict[str, Any]:
        seen = await operations.get(session, operation.id)
        return {"text": SECRET, "of": seen.result, "for": str(principal.organization_id)}

    accepted = JSONResponse({"id": str(operation_id)}, 202, {"location": operation_path(operation_id)})
    return wait.for_result(accepted, read)


@pytest.fixture(scope="module")
async def seeded(module_database: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SeededApi]:
    async with seeded_api(module_database, tmp_path_factory.mktemp("home"), streams_per_principal=3) as made:
        made.api.app.include_router(RESULTS)
        yield made


def has_begun(seeded: SeededApi, operation_id: UUID) -> bool:
    return f"operation/{operation_id}" in seeded.api.state.event_feed._bells


async def until_waited_for(seeded: SeededApi, operation_id: UUID) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while not has_begun(seeded, operation_id):
            await asyncio.sleep(0.005)


def end(seeded: SeededApi, person: Person, operation_id: UUID, status: str = "succeeded", **columns: object) -> None:
    """What the owner does in one transaction: the row and its event."""
    names = "".join(f", {name} = %s" for name in columns)
    seeded.people.execute(
        f"WITH moved AS (UPDATE operations SET status = %s, completed_at = now(){names} WHERE id = %s RETURNING id)"  # noqa: S608
        " SELECT append_event('operation/' || id, %s, 'operation.updated', '{}') FROM moved",
        status, *columns.values(), operation_id, person.organization_id,
    )  # fmt: skip


def begin(seeded: SeededApi, person: Person, path: str, method: str = "POST", **options: Any) -> asyncio.Task[Any]:
    return asyncio.create_task(seeded.call(method, path, person, headers=options.pop("headers", WAIT), **options))


def open_operation(seeded: SeededApi, person: Person) -> UUID:
    return seeded.rows.operation(seeded.rows.machine(person.organization_id)).id


async def reinstalling(seeded: SeededApi, person: Person) -> tuple[asyncio.Task[Any], UUID, UUID]:
    """An order to reinstall that waits, the instance, and the operation."""
    row = seeded.rows.machine(person.organization_id)
    answering = begin(seeded, person, f"/instances/{row.id}/reinstall")
    async with asyncio.timeout(GIVE_UP_S):
        while not (found := seeded.rows.all(Operation, resource_id=row.id, kind="instance.reinstall")):
            await asyncio.sleep(0.01)
    await until_waited_for(seeded, found[0].id)
    return answering, row.id, found[0].id


async def test_a_command_is_answered_with_its_end(seeded: SeededApi, person: Person):
    answering, instance_id, operation_id = await reinstalling(seeded, person)
    assert not answering.done()
    end(seeded, person, operation_id, result='{"status": "ready"}')
    answer = await answering
    body = answer.json()
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=20")
    assert (body["status"], body["instance_id"]) == ("ready", str(instance_id))
    assert (body["operation"]["id"], body["operation"]["status"]) == (str(operation_id), "succeeded")
    assert answer.headers["location"] == f"/operations/{operation_id}"
    assert not has_begun(seeded, operation_id)


async def test_one_that_fails_has_ended_too(seeded: SeededApi, person: Person):
    answering, _instance_id, operation_id = await reinstalling(seeded, person)
    end(seeded, person, operation_id, "failed", error_code="NO_CAPACITY", error_message="full")
    answer = await answering
    assert (answer.status_code, answer.json()["operation"]["error"]["code"]) == (200, "NO_CAPACITY")


async def test_an_event_that_is_not_the_end_wakes_nobody_for_good(seeded: SeededApi, person: Person):
    answering, _instance_id, operation_id = await reinstalling(seeded, person)
    for _ in range(3):
        end(seeded, person, operation_id, "running")
        await asyncio.sleep(0.05)
    assert not answering.done()
    end(seeded, person, operation_id)
    assert (await answering).json()["operation"]["status"] == "succeeded"


async def test_what_takes_longer_is_answered_as_without(seeded: SeededApi, person: Person):
    row = seeded.rows.machine(person.organization_id)
    answer = await seeded.call("DELETE", f"/instances/{row.id}", person, 202, headers={"prefer": "wait=1"})
    assert (answer.headers["preference-applied"], answer.json()["operation"]["status"]) == ("wait=1", "pending")
    for preference in ({"prefer": "respond-async"}, {"prefer": "wait=0"}):
        answer = await seeded.call("DELETE", f"/instances/{row.id}", person, 202, headers=preference)
        assert answer.headers["preference-applied"] == "wait=0"
    for nothing in ({}, {"prefer": "wait=soon"}, {"prefer": "return=minimal"}):
        answer = await seeded.call("DELETE", f"/instances/{row.id}", person, 202, headers=nothing)
        assert "preference-applied" not in answer.headers


async def test_what_is_refused_or_has_ended_already_waits_for_nothing(seeded: SeededApi, person: Person):
    assert (
        "preference-applied"
        not in (
            await seeded.call("POST", "/deployments", person, 400, json={"provider_code": "mock"}, headers=WAIT)
        ).headers
    )
    row = seeded.rows.instance(person.organization_id, S.PROVISIONING)
    ended = await seeded.call("DELETE", f"/instances/{row.id}", person, 200, headers=WAIT)
    assert ended.json()["operation"]["status"] == "succeeded"
    await seeded.call("POST", f"/instances/{row.id}/reinstall", person, 400, headers=WAIT)


async def test_a_repetition_waits_as_well_and_the_first_answer_is_kept(seeded: SeededApi, person: Person):
    order = {"model_id": "mock-echo-model", "provider_code": "mock"}
    key = {"idempotency-key": "k"}
    first = await seeded.call("POST", "/deployments", person, 200, json=order, headers=key)
    operation_id = UUID(first.json()["operation"]["id"])
    again = begin(seeded, person, "/deployments", json=order, headers=key | WAIT)
    await until_waited_for(seeded, operation_id)
    end(seeded, person, operation_id)
    answer = await again
    assert (answer.headers["idempotent-replayed"], answer.json()["operation"]["status"]) == ("true", "succeeded")
    assert answer.json()["status"] == "accepted"
    plain = await seeded.call("POST", "/deployments", person, 200, json=order, headers=key)
    assert plain.json() == first.json()


async def test_giving_up_what_nobody_began_wakes_who_waits_for_it(seeded: SeededApi, person: Person):
    answering, _instance_id, operation_id = await reinstalling(seeded, person)
    given_up = await seeded.call("POST", f"/operations/{operation_id}/cancel", person, 200, headers=WAIT)
    assert given_up.json()["status"] == "cancelled"
    assert (await answering).json()["operation"]["status"] == "cancelled"


async def test_ending_what_was_never_asked_for_wakes_who_waits_for_it(seeded: SeededApi, person: Person):
    row = seeded.rows.instance(person.organization_id, S.PROVISIONING)
    provision = seeded.rows.operation(row)
    answering = begin(seeded, person, f"/results/{provision.id}")
    await until_waited_for(seeded, provision.id)
    await seeded.call("DELETE", f"/instances/{row.id}", person, 200)
    assert ((await answering).status_code, (await answering).json()["code"]) == (409, "OPERATION_CANCELLED")


async def test_many_wait_without_a_connection_to_the_database(seeded: SeededApi, person: Person):
    """More of them than there are connections."""
    callers = [seeded.people.person() for _ in range(8)]
    made = {who: [open_operation(seeded, who) for _ in range(3)] for who in callers}
    answering = [begin(seeded, who, f"/results/{each}") for who, ids in made.items() for each in ids]
    assert len(answering) > 2 * seeded.api.state.settings.database_pool_size
    for ids in made.values():
        for each in ids:
            await until_waited_for(seeded, each)
    async with asyncio.timeout(GIVE_UP_S):
        while seeded.api.state.database.transactions_under_way:
            await asyncio.sleep(0.01)
    await seeded.call("GET", "/operations", person, 200)
    for who, ids in made.items():
        for each in ids:
            end(seeded, who, each)
    assert {answer.status_code for answer in await asyncio.gather(*answering)} == {200}


async def test_so_many_wait_at_a_time_and_take_no_streams_place(seeded: SeededApi, person: Person):
    ended = open_operation(seeded, person)
    end(seeded, person, ended)
    ids = [open_operation(seeded, person) for _ in range(3)]
    answering = [begin(seeded, person, f"/results/{each}") for each in ids]
    for each in ids:
        await until_waited_for(seeded, each)
    one_more = open_operation(seeded, person)
    assert (await seeded.call("POST", f"/results/{one_more}", person, 202, headers=WAIT)).json()["id"] == str(one_more)
    assert "event: " in (await seeded.call("GET", f"/operations/{ended}/events", person, 200)).text
    for each in ids:
        end(seeded, person, each)
    assert {answer.status_code for answer in await asyncio.gather(*answering)} == {200}


async def test_a_result_is_read_from_where_it_lies(seeded: SeededApi, person: Person):
    operation_id = open_operation(seeded, person)
    answering = begin(seeded, person, f"/results/{operation_id}", headers={})
    await until_waited_for(seeded, operation_id)  # although nobody said so: its contract is a result
    end(seeded, person, operation_id, result='{"draft_id": "7"}')
    answer = await answering
    assert (answer.status_code, answer.json()) == (
        200, {"text": SECRET, "of": {"draft_id": "7"}, "for": str(person.organization_id)},
    )  # fmt: skip
    assert "preference-applied" not in answer.headers
    read = await seeded.call("GET", f"/operations/{operation_id}", person, 200)
    assert SECRET not in read.text
    later = await seeded.call("POST", f"/results/{operation_id}", person, 200, headers=WAIT)
    assert (later.json()["text"], later.headers["preference-applied"]) == (SECRET, "wait=20")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        ("failed", "BUDGET_EXCEEDED", 402), ("failed", "PROVIDER_ERROR", 502), ("failed", "UNAUTHENTICATED", 500),
        ("failed", "WHATEVER", 500), ("cancelled", None, 409),
    ],
)  # fmt: skip
async def test_without_a_result_the_reason_is_answered(
    seeded: SeededApi, person: Person, status: str, code: str | None, expected: int
):
    operation_id = open_operation(seeded, person)
    end(seeded, person, operation_id, status, error_code=code, error_message="why")
    refused = await seeded.call("POST", f"/results/{operation_id}", person, expected)
    assert refused.json()["code"] == (code or "OPERATION_CANCELLED")
    assert refused.json()["details"] == {"operation": f"/operations/{operation_id}"}


async def test_anothers_operation_is_waited_for_in_vain(seeded: SeededApi, person: Person):
    other = seeded.people.person()
    theirs = open_operation(seeded, other)
    answering = begin(seeded, person, f"/results/{theirs}", headers={"prefer": "wait=1"})
    end(seeded, other, theirs)
    assert (await answering).status_code == 202
    assert SECRET not in (await answering).text


async def test_credentials_that_are_revoked_meanwhile_get_no_result(seeded: SeededApi, person: Person):
    operation_id = open_operation(seeded, person)
    answering = begin(seeded, person, f"/results/{operation_id}")
    await until_waited_for(seeded, operation_id)
    seeded.people.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %s", person.api_key_id)
    async with asyncio.timeout(GIVE_UP_S):
        while seeded.api.state.identities.holder(fingerprint(person.api_key)) is not None:
            await asyncio.sleep(0.01)
    end(seeded, person, operation_id)
    answer = await answering
    assert (answer.status_code, SECRET in answer.text) == (202, False)


async def test_a_client_that_goes_and_a_server_that_stops_end_the_wait(
    seeded: SeededApi, person: Person, module_database: TestDatabase, tmp_path: Path
):
    settings = lonely_settings(module_database, tmp_path)
    async with served(settings) as server, httpx.AsyncClient(trust_env=False, timeout=GIVE_UP_S) as client:
        feed = server.state.event_feed
        row = seeded.rows.machine(person.organization_id)

        def delete() -> asyncio.Task[httpx.Response]:
            url, headers = f"{server.url}/instances/{row.id}", person.bearer | WAIT
            return asyncio.create_task(client.delete(url, headers=headers))

        async def until_waiting(expected: bool) -> None:
            async with asyncio.timeout(GIVE_UP_S):
                while bool(feed._bells) is not expected:
                    await asyncio.sleep(0.01)

        gone = delete()
        await until_waiting(expected=True)
        gone.cancel()
        await until_waiting(expected=False)
        [operation] = seeded.rows.all(Operation, resource_id=row.id)
        assert operation.status is OperationStatus.PENDING
        stopped = delete()
        await until_waiting(expected=True)
        server.server.should_exit = True
        assert (await stopped).status_code == 202
