"""The first answer to a keyed request is the answer to its repetitions (DESIGN 3)."""

import asyncio

import pytest
from pydantic import BaseModel

from api.http import idempotency
from api.http.idempotency import Claimed, Replay, request_hash
from models.base.errors import Conflict, IdempotencyMismatch
from models.domain.identity.principal import Principal
from models.domain.identity.roles import Role
from models.repositories.database import Database
from models.repositories.sweeper_rows import SweeperRows
from tests.api.conftest import People, RunningApi
from tests.servers import TestDatabase

ROUTE = "POST /things"


class Body(BaseModel):
    name: str = "x"
    count: int = 1


def principal_of(people: People) -> Principal:
    person = people.person()
    return Principal(person.user_id, person.organization_id, Role.OWNER, api_key_id=person.api_key_id)


async def answer_once(
    api: RunningApi, principal: Principal, key: str | None, body: Body, *, hold_s: float = 0, route: str = ROUTE
) -> Replay | str:
    """A command as the routers write them: its answer is unique to the run that gave it."""
    async with api.state.database.tenant(principal.organization_id, principal.user_id) as session:
        claimed = await idempotency.claim(session, principal, route, key, request_hash(body))
        if isinstance(claimed, Replay):
            return claimed
        await asyncio.sleep(hold_s)
        await idempotency.keep(session, claimed, 202, {"name": body.name}, {"location": "/operations/1"})
    return "worked"


async def test_a_repetition_gets_the_first_answer(api: RunningApi, people: People):
    principal = principal_of(people)
    assert await answer_once(api, principal, "k", Body()) == "worked"
    replay = await answer_once(api, principal, "k", Body())
    assert replay == Replay(202, {"name": "x"}, {"location": "/operations/1"})
    response = replay.response()
    assert (response.status_code, response.headers["location"]) == (202, "/operations/1")
    assert response.headers["idempotent-replayed"] == "true"


async def test_other_content_under_the_same_key_is_refused(api: RunningApi, people: People):
    principal = principal_of(people)
    await answer_once(api, principal, "k", Body())
    with pytest.raises(IdempotencyMismatch):
        await answer_once(api, principal, "k", Body(count=2))


async def test_a_key_belongs_to_its_principal_route_and_organization(api: RunningApi, people: People):
    first, second = principal_of(people), principal_of(people)
    for principal, route in ((first, ROUTE), (second, ROUTE), (first, "POST /others")):
        assert await answer_once(api, principal, "k", Body(), route=route) == "worked"


async def test_without_a_key_nothing_is_kept(api: RunningApi, people: People):
    principal = principal_of(people)
    assert [await answer_once(api, principal, None, Body()) for _ in range(2)] == ["worked"] * 2
    assert people.execute("SELECT count(*) FROM idempotency_keys") == [(0,)]


async def test_of_many_at_once_one_works_and_the_others_are_told_to_come_back(api: RunningApi, people: People):
    principal = principal_of(people)
    tries = (answer_once(api, principal, "k", Body(), hold_s=0.3) for _ in range(8))
    answers = await asyncio.gather(*tries, return_exceptions=True)
    conflicts = [answer for answer in answers if isinstance(answer, Conflict)]
    assert answers.count("worked") == 1
    assert len(conflicts) == 7
    assert {(conflict.code, conflict.retry_after_s) for conflict in conflicts} == {("IDEMPOTENCY_IN_PROGRESS", 1)}
    assert isinstance(await answer_once(api, principal, "k", Body()), Replay)


async def test_a_command_that_failed_leaves_its_key_free(api: RunningApi, people: People):
    principal = principal_of(people)

    async def fail() -> None:
        async with api.state.database.tenant(principal.organization_id) as session:
            claimed = await idempotency.claim(session, principal, ROUTE, "k", request_hash(Body()))
            assert isinstance(claimed, Claimed)
            await idempotency.keep(session, claimed, 200, {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await answer_once(api, principal, "k", Body(count=9)) == "worked"


async def test_after_a_day_a_key_is_new_again(api: RunningApi, people: People):
    principal = principal_of(people)
    await answer_once(api, principal, "k", Body())
    people.execute("UPDATE idempotency_keys SET expires_at = now()")
    assert await answer_once(api, principal, "k", Body(count=2)) == "worked"
    assert people.execute("SELECT count(*) FROM idempotency_keys WHERE expires_at > now() + interval '23 h'") == [(1,)]


async def test_the_sweeper_purges_expired_keys_of_every_organization(
    api: RunningApi, people: People, database: TestDatabase
):
    for key in ("old", "new"):
        await answer_once(api, principal_of(people), key, Body())
    people.execute("UPDATE idempotency_keys SET expires_at = now() - interval '1 s' WHERE key = 'old'")
    worker = Database(database.worker, pool_size=1)
    try:
        assert await SweeperRows(worker, events_kept_s=86_400).purge() == 1
    finally:
        await worker.close()
    assert people.execute("SELECT key FROM idempotency_keys") == [("new",)]


@pytest.mark.parametrize("key", ["", " ", "a b", "a" * 256, "é", "a\tb"])
async def test_a_key_that_is_none_is_422(api: RunningApi, people: People, key: str):
    headers = [(b"idempotency-key", key.encode()), (b"x-api-key", people.person().api_key.encode())]
    response = await api.client.post("/api_keys", json={"name": "x"}, headers=headers)
    assert response.status_code == 422


def test_the_hash_is_that_of_the_meaning_not_of_the_spelling():
    assert request_hash({"a": 1, "b": 2}) == request_hash({"b": 2, "a": 1})
    assert request_hash(Body()) == request_hash(Body(name="x", count=1))
    assert len({request_hash(Body()), request_hash(Body(count=2)), request_hash("id", Body()), request_hash()}) == 4
