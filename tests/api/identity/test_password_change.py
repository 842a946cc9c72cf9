"""A person's new password: asked for by the person in a session, and the end of every other session (contract decision 25)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import psycopg
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from api.security import permissions
from models.domain.identity.passwords import LONGEST, SHORTEST
from tests.api.conftest import PASSWORD, People, Person, RunningApi, session_of
from tests.factories.unstarted import unstarted_app
from tests.servers import TestDatabase

NEW = "a better horse with a longer battery"
PATH = "/auth/me/password"
OF_THE_PERSON = re.compile(r"(/api(/v1)?)?/auth/(me|sessions)(/.*)?")


async def sign_in(api: RunningApi, person: Person, password: str = PASSWORD) -> int:
    """The status of an attempt; no cookie stays."""
    answer = await api.client.post("/auth/login", json={"email": person.email, "password": password})
    api.client.cookies.clear()
    return answer.status_code


async def change(
    api: RunningApi, headers: dict[str, str], current: str = PASSWORD, new: str = NEW
) -> tuple[int, str | None]:
    answer = await api.client.put(PATH, json={"current_password": current, "new_password": new}, headers=headers)
    return answer.status_code, answer.json().get("code")


async def is_good(api: RunningApi, headers: dict[str, str]) -> bool:
    return (await api.client.get("/auth/me", headers=headers)).status_code == 200


async def test_the_new_password_signs_in_and_every_other_session_has_ended(api: RunningApi, people: People):
    person = people.person()
    here, elsewhere = await session_of(api, person), await session_of(api, person)
    assert await change(api, here) == (200, None)
    assert [await is_good(api, each) for each in (here, elsewhere, person.bearer)] == [True, False, True]
    assert [await sign_in(api, person), await sign_in(api, person, NEW)] == [401, 200]


async def test_an_api_key_cannot_change_the_person(api: RunningApi, people: People):
    person = people.person()
    assert await change(api, person.bearer) == (403, "SESSION_REQUIRED")
    assert await sign_in(api, person) == 200


async def test_nobody_cannot_either(api: RunningApi):
    assert await change(api, {}) == (401, "LOGIN_REQUIRED")


async def test_a_wrong_current_password_changes_nothing(api: RunningApi, people: People):
    person = people.person()
    here, elsewhere = await session_of(api, person), await session_of(api, person)
    assert await change(api, here, current="guess") == (422, "INVALID_CURRENT_PASSWORD")
    assert await is_good(api, elsewhere)
    assert await sign_in(api, person) == 200


async def test_an_open_session_is_no_licence_to_guess(api: RunningApi, people: People):
    person = people.person()
    sessions = [await session_of(api, person), await session_of(api, person)] * 3
    codes = [await change(api, each, current="guess") for each in sessions]
    assert codes == [(422, "INVALID_CURRENT_PASSWORD")] * 5 + [(429, "LOGIN_LIMIT")]


async def test_strangers_who_use_up_the_attempts_of_an_address_keep_nobody_from_it(api: RunningApi, people: People):
    here = await session_of(api, people.person())
    statuses = [401]
    while statuses[-1] != 429:  # on a slow machine some attempts are given back meanwhile
        guess = {"email": f"guess{len(statuses)}", "password": "guess"}
        statuses.append((await api.client.post("/auth/login", json=guess)).status_code)
    assert set(statuses) == {401, 429}
    assert await change(api, here) == (200, None)


async def test_who_has_no_password_cannot_guess_one(api: RunningApi, people: People):
    person = people.person()
    here = await session_of(api, person)
    people.execute(
        "WITH here AS MATERIALIZED (SELECT set_config('app.session_id', id::text, true) AS set FROM user_sessions)"
        " UPDATE users SET password_hash = NULL FROM here WHERE here.set IS NOT NULL"
    )
    assert await change(api, here) == (422, "INVALID_CURRENT_PASSWORD")


@pytest.mark.parametrize("new", ["x" * (SHORTEST - 1), "x" * (LONGEST + 1), "a\0bcdefgh"])
async def test_a_password_that_is_none_is_422_and_is_not_shown(api: RunningApi, people: People, new: str):
    here = await session_of(api, people.person())
    answer = await api.client.put(PATH, json={"current_password": PASSWORD, "new_password": new}, headers=here)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")
    assert PASSWORD not in answer.text
    assert new not in answer.text


async def test_of_many_changes_at_once_one_is_made(api: RunningApi, people: People):
    person = people.person()
    sessions = [await session_of(api, person) for _ in range(4)]
    new = [f"new password {number}" for number in range(4)]
    answers = await asyncio.gather(
        *(change(api, each, new=password) for each, password in zip(sessions, new, strict=True))
    )
    assert sorted(status for status, _ in answers).count(200) == 1
    assert {status for status, _ in answers} <= {200, 401, 422}
    winner = [status for status, _ in answers].index(200)
    assert [await is_good(api, each) for each in sessions] == [place == winner for place in range(4)]
    assert await sign_in(api, person, new[winner]) == 200


async def test_a_session_that_a_password_ends_while_it_changes_the_same_is_refused(
    api: RunningApi, people: People, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
):
    person = people.person()
    here = await session_of(api, person)
    hash_of = api.state.reserved_checks.hash

    async def meanwhile(password: str) -> str:
        with psycopg.connect(database.owner, autocommit=True) as connection:
            connection.execute("UPDATE users SET password_hash = 'another' WHERE id = %s", [person.user_id])
        return await hash_of(password)

    monkeypatch.setattr(api.state.reserved_checks, "hash", meanwhile)
    assert await change(api, here) == (401, "INVALID_TOKEN")
    assert people.execute("SELECT password_hash FROM users WHERE id = %s", person.user_id) == [("another",)]


async def test_the_same_session_twice_at_once_is_a_conflict(
    api: RunningApi, people: People, monkeypatch: pytest.MonkeyPatch
):
    here = await session_of(api, people.person())
    hash_of, both = api.state.reserved_checks.hash, asyncio.Barrier(2)

    async def together(password: str) -> str:
        await both.wait()
        return await hash_of(password)

    monkeypatch.setattr(api.state.reserved_checks, "hash", together)
    answers = await asyncio.gather(change(api, here), change(api, here, new="yet another"))
    assert sorted(answers) == [(200, None), (409, "PASSWORD_CHANGED")]


def calls_of(dependant: Dependant) -> Iterator[object]:
    yield dependant.call
    for inner in dependant.dependencies:
        yield from calls_of(inner)


def test_every_route_that_changes_the_person_needs_a_session():
    routes = [context.original_route for context in iter_route_contexts(unstarted_app().routes)]
    changing = [
        route
        for route in routes
        if isinstance(route, APIRoute)
        and OF_THE_PERSON.fullmatch(route.path)
        and (route.methods or set()) - {"GET", "HEAD", "OPTIONS"}
    ]
    assert PATH in {route.path for route in changing}
    open_to_keys = [route.path for route in changing if permissions._signed_in not in calls_of(route.dependant)]
    assert not open_to_keys, f"an API key changes the person here: {open_to_keys}"
