"""`Idempotency-Key` on orders and commands: whatever is repeated, and by how many at once, it happens once (DESIGN 3)."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from models.base.errors import DATABASE_BUSY, DATABASE_UNAVAILABLE
from models.domain.identity.roles import Role
from models.tables.fleet.instances import Instance
from models.tables.operations import IdempotencyKey, Operation, OutboxRow
from tests.api.conftest import PASSWORD, Person, client_of
from tests.factories.seeded import SeededApi

ORDER = {"model_id": "mock-echo-model", "provider_code": "mock"}
AT_ONCE = 100
TRIED_AGAIN = {(409, "IDEMPOTENCY_IN_PROGRESS"), (503, DATABASE_BUSY), (503, DATABASE_UNAVAILABLE)}
"""The latter on a machine so busy that a hundred connections take longer than a request waits for one."""


async def order(
    seeded: SeededApi, person: Person, key: str, body: dict[str, object] | None = None, expected: int | None = 200
) -> httpx.Response:
    return await seeded.call(
        "POST", "/deployments", person, expected, json=ORDER if body is None else body, headers={"idempotency-key": key}
    )


def count(seeded: SeededApi, person: Person) -> int:
    return len(seeded.rows.all(Instance, organization_id=person.organization_id))


async def test_a_repetition_gets_the_first_answer_and_orders_nothing(seeded: SeededApi, person: Person):
    first = await order(seeded, person, "k")
    again = await order(seeded, person, "k")
    assert again.json() == first.json()
    assert (again.status_code, again.headers["location"]) == (200, first.headers["location"])
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert count(seeded, person) == 1
    assert len(seeded.rows.all(OutboxRow, organization_id=person.organization_id)) == 1


async def test_a_refused_order_is_repeated_as_refused(seeded: SeededApi, person: Person):
    first = await order(seeded, person, "k", {"provider_code": "mock"}, 400)
    again = await order(seeded, person, "k", {"provider_code": "mock"}, 400)
    assert again.json() == first.json()
    assert again.headers["content-type"] == first.headers["content-type"] == "application/problem+json"
    assert count(seeded, person) == 1


async def test_the_same_content_in_other_words_is_a_repetition(seeded: SeededApi, person: Person):
    first = await order(seeded, person, "k", {"model_id": "mock-echo-model", "provider_code": "mock"})
    again = await order(
        seeded, person, "k", {"provider_code": "mock", "model_id": "mock-echo-model", "zone": None,
        "on_unavailable": "restart_agent"},
    )  # fmt: skip
    assert again.json() == first.json()


@pytest.mark.parametrize("change", [{"zone": "sim-b"}, {"instance_type": "sim-l4-1-24g"}, {"on_unavailable": "wait"}])
async def test_the_key_with_other_content_is_409(seeded: SeededApi, person: Person, change: dict[str, object]):
    await order(seeded, person, "k")
    refused = (await order(seeded, person, "k", ORDER | change, 409)).json()
    assert refused["code"] == "IDEMPOTENCY_MISMATCH"
    assert "new key" in refused["detail"]
    assert count(seeded, person) == 1


async def test_a_hundred_at_once_with_one_key_order_one_instance(seeded: SeededApi, person: Person):
    await seeded.introduce(person)
    answers = await asyncio.gather(*(order(seeded, person, "k", expected=None) for _ in range(AT_ONCE)))
    accepted = [answer.json()["instance_id"] for answer in answers if answer.status_code == 200]
    others = [answer for answer in answers if answer.status_code != 200]
    assert len(set(accepted)) <= 1
    assert {(answer.status_code, answer.json()["code"]) for answer in others} <= TRIED_AGAIN
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in others)
    again = (await order(seeded, person, "k")).json()["instance_id"]
    assert {again, *accepted} == {again}
    assert count(seeded, person) == 1
    for table in (Operation, OutboxRow, IdempotencyKey):
        assert len(seeded.rows.all(table, organization_id=person.organization_id)) == 1


async def test_another_user_another_organization_and_another_credential_are_independent(
    seeded: SeededApi, person: Person
):
    colleague = seeded.people.person(Role.ADMIN, organization_id=person.organization_id)
    stranger = seeded.people.person()
    ids = {(await order(seeded, who, "k")).json()["instance_id"] for who in (person, colleague, stranger)}
    async with client_of(seeded.api.app) as browser:
        await browser.post("/auth/login", json={"email": person.email, "password": PASSWORD})
        ids.add(
            (await browser.post("/deployments", json=ORDER, headers={"idempotency-key": "k"})).json()["instance_id"]
        )
    assert len(ids) == 4


async def test_an_unknown_provider_leaves_the_key_free(seeded: SeededApi, person: Person):
    await order(seeded, person, "k", {**ORDER, "provider_code": "no-such-cloud"}, 400)
    await order(seeded, person, "k")
    assert count(seeded, person) == 1


async def test_a_role_that_was_taken_away_replays_nothing(seeded: SeededApi, person: Person):
    await order(seeded, person, "k")
    seeded.people.execute("UPDATE memberships SET role = 'viewer' WHERE user_id = %s", person.user_id)
    await seeded.api.state.identities.catch_up()
    assert (await order(seeded, person, "k", expected=403)).json()["code"] == "PERMISSION_DENIED"


@pytest.mark.parametrize(("method", "suffix"), [("DELETE", ""), ("POST", "/reinstall")])
async def test_a_keyed_command_is_repeated_as_it_was_answered(
    seeded: SeededApi, person: Person, method: str, suffix: str
):
    rows = [seeded.rows.machine(person.organization_id) for _ in range(2)]
    key = {"idempotency-key": "k"}
    for row in rows:
        first = await seeded.call(method, f"/instances/{row.id}{suffix}", person, 202, headers=key)
        again = await seeded.call(method, f"/instances/{row.id}{suffix}", person, 202, headers=key)
        assert again.json() == first.json()
        assert again.headers["idempotent-replayed"] == "true"
        assert first.json()["instance_id"] == str(row.id), "the key of one instance says nothing about another"
        assert len(seeded.rows.all(OutboxRow, workflow_id=f"instance/{row.id}")) == 1
